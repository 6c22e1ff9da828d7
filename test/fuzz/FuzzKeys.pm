package FuzzKeys;
1;
