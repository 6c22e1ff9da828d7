package FuzzOptions;
1;
