-- The tables of the demo; tools/demo.sh fills train and test from test/data.

CREATE EXTENSION amad;

-- 19 metrics of one application server, a row every five minutes
CREATE TABLE train (
  ts timestamptz PRIMARY KEY,
  f0 float4, f1 float4, f2 float4, f3 float4, f4 float4, f5 float4, f6 float4, f7 float4, f8 float4, f9 float4,
  f10 float4, f11 float4, f12 float4, f13 float4, f14 float4, f15 float4, f16 float4, f17 float4, f18 float4
);
CREATE TABLE test (LIKE train INCLUDING INDEXES, label int);
