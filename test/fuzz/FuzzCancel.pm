package FuzzCancel;
1;
