package FuzzDdl;
1;
