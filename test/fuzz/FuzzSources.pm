package FuzzSources;
1;
