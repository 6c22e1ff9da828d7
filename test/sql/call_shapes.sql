--
-- How calls resolve. PostgreSQL picks one of the functions of a name by the types of the arguments, and gives
-- types to untyped literals and parameters: each form of a call must keep its meaning.
--
-- A line "call with arguments" is prepared, then executed with the arguments. Its outcome: the types that the
-- parameters were given, and the result; for an error in the call itself (class 42), the code.
--
SET jit = off;
SET timezone = 'UTC';
SET DateStyle = 'ISO';
CREATE DOMAIN moment AS timestamptz;
CREATE DOMAIN document AS jsonb;
CREATE DOMAIN counter AS integer CHECK (VALUE >= 0);
CREATE TABLE r AS
SELECT n, n::bigint AS big, n::smallint AS small, n::counter AS counter, n::numeric AS num, n::text AS txt,
	at AS ts, at::moment AS moment, at::timestamp AS local, date '2026-01-01' + n AS day,
	sin(n * 0.3) AS a, cos(n * 0.17) AS b, n % 10 = 0 AS bool, '{"method": "zscore"}'::jsonb AS o, '1'::jsonb AS s
FROM generate_series(1, 400) n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 min') x(at);

CREATE TABLE calls (id serial, line text);
CREATE FUNCTION outcome(query text, arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE types text; result text;
BEGIN
	EXECUTE 'PREPARE shape AS ' || query;
	SELECT parameter_types INTO types FROM pg_prepared_statements WHERE name = 'shape';
	EXECUTE 'EXECUTE shape' || coalesce('(' || arguments || ')', '') INTO result;
	DEALLOCATE shape;
	RETURN concat_ws(' ', nullif(types, '{}'), result);
EXCEPTION WHEN OTHERS THEN
	IF EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'shape') THEN
		DEALLOCATE shape;
	END IF;
	RETURN concat_ws(' ', nullif(types, '{}'), 'ERROR', CASE WHEN sqlstate LIKE '42%' THEN sqlstate ELSE sqlerrm END);
END $$;
-- The outcome of each line of calls, with the call in place of %s in the query
CREATE FUNCTION outcomes(query text) RETURNS TABLE (call text, outcome text) LANGUAGE sql AS $$
	SELECT line, outcome(replace(query, '%s', split_part(line, ' with ', 1)), nullif(split_part(line, ' with ', 2), ''))
	FROM calls ORDER BY id $$;

-- ---- amad_fit without options: the error about a duplicate timestamp shows the type that was read

CREATE TABLE twice AS TABLE r UNION ALL SELECT * FROM r WHERE n = 7;
TRUNCATE calls;
COPY calls (line) FROM stdin;
ts, a, b
local, a, b
day, a, b
big, a, b
n, a, b
small, a, b
moment, a, b
counter, a, b
ts::timestamptz(0), a
timestamp '2026-01-01', a
7, a
n % 50, a
NULL::timestamptz, a
ts, n, small, big, num, bool, counter, NULL
ts, a ORDER BY n DESC
DISTINCT n % 7, n
ts, VARIADIC ARRAY[a, b]
n, VARIADIC ARRAY[n, n]
ts, VARIADIC '{1,2}'::int[]
ts, $1::float8 with 1
$1::timestamptz, a with '2026-01-01'
$1::timestamp, a with '2026-01-01'
$1::date, a with '2026-01-01'
$1::int, a with 1
NULL, ts, a
'{}', NULL::bigint, a
$1, $2::timestamptz, a with '{}', NULL
\.
SELECT * FROM outcomes('SELECT amad_fit(%s) FROM twice');
-- a time that has no type, or one that is not a time; features that have no type; other forms
TRUNCATE calls;
COPY calls (line) FROM stdin;
'2026-01-01', a, b
'2026-01-01', a
NULL, a, b
$1, a, b with '2026-01-01'
$1, a with '2026-01-01'
'5', n, n
$1, n, n with 5
$1, VARIADIC ARRAY[a, b] with 1
a, b
num, a
txt, a
bool, a
o, a
interval '1 day', a
ARRAY[ts], a
ts, '1'
ts, $1 with 1
ts, VARIADIC $1 with 1
ts, VARIADIC '{1,2}'
ts

ts => ts, VARIADIC features => ARRAY[a]
\.
SELECT * FROM outcomes('SELECT amad_fit(%s) FROM twice');

-- ---- amad_fit with options: a model shows the type of its time column

CREATE TABLE reference (time text, model text);
INSERT INTO reference SELECT 'timestamptz', amad_fit(o, ts, a, b) FROM r;
INSERT INTO reference SELECT 'timestamp', amad_fit(o, local, a, b) FROM r;
INSERT INTO reference SELECT 'timestamp, days', amad_fit(o, day, a, b) FROM r;
INSERT INTO reference SELECT 'bigint', amad_fit(o, big, a, b) FROM r;
SELECT count(DISTINCT model) AS models FROM reference;
TRUNCATE calls;
COPY calls (line) FROM stdin;
o, ts, a, b
o, local, a, b
o, day, a, b
o, big, a, b
o, n, a, b
o, small, a, b
o, moment, a, b
o, counter, a, b
o::document, ts, a, b
o, ts, VARIADIC ARRAY[a, b]
o, n, VARIADIC ARRAY[a, b]
'{"method": "zscore"}', ts, a, b
'{"method": "zscore"}', local, a, b
'{"method": "zscore"}', day, a, b
'{"method": "zscore"}', big, a, b
'{"method": "zscore"}'::jsonb, n, a, b
'{"method": "zscore"}', ts, VARIADIC ARRAY[a, b]
'{"method": "zscore"}', big, VARIADIC ARRAY[a, b]
'{"method": "zscore"}', n, VARIADIC ARRAY[a, b]
$1, ts, a, b with '{"method": "zscore"}'
$1, local, a, b with '{"method": "zscore"}'
$1, day, a, b with '{"method": "zscore"}'
$1, big, a, b with '{"method": "zscore"}'
$1::jsonb, n, a, b with '{"method": "zscore"}'
$1, ts, VARIADIC ARRAY[a, b] with '{"method": "zscore"}'
$1, ts, VARIADIC $2::float8[] with '{"method": "zscore"}', NULL
\.
SELECT * FROM outcomes('SELECT (SELECT time FROM reference WHERE model = m)
	FROM (SELECT amad_fit(%s)::text AS m FROM r) x');
-- ambiguous, or of another type
TRUNCATE calls;
COPY calls (line) FROM stdin;
'{"method": "zscore"}', n, a, b
'{"method": "zscore"}', n, n, n
$1, n, a, b with '{"method": "zscore"}'
$1, $2, a, b with '{"method": "zscore"}', 1
o, $1, a, b with 1
o, '2026-01-01', a, b
o, num, a
o, txt, a
o::text, ts, a
o::json, ts, a
\.
SELECT * FROM outcomes('SELECT (SELECT time FROM reference WHERE model = m)
	FROM (SELECT amad_fit(%s)::text AS m FROM r) x');

-- ---- amad_train without options

TRUNCATE calls;
COPY calls (line) FROM stdin;
'm', ts, a, b
'm', local, a, b
'm', day, a, b
'm', big, a, b
'm', n, a, b
'm', small, a, b
'm'::text, ts, a
'm'::name, counter, a
'm'::varchar, moment, a
'm', ts, VARIADIC ARRAY[a, b]
'm', n, VARIADIC ARRAY[a, b]
$1, ts, a, b with 'm'
$1, n, a, b with 'm'
$1, small, VARIADIC ARRAY[a] with 'm'
$1, $2::bigint, a with 'm', 1
$1, ts, $2::int with 'm', 1
\.
SELECT * FROM outcomes('SELECT amad_train(%s) FROM twice');
-- a time that has no type, or one that is not a time; a name of another type
TRUNCATE calls;
COPY calls (line) FROM stdin;
'm', '2026-01-01', a, b
'm', '2026-01-01', a
'm', $1, a, b with 1
'm', $1, n, n with 1
$1, $2, a with 'm', 1
'm'::text, '5', n, n
'm', num, a
'm', txt, a
'm', bool, a
'm', o, a
o, n, a
n, ts, a
\.
SELECT * FROM outcomes('SELECT amad_train(%s) FROM twice');

-- ---- amad_train with options: stored models

TRUNCATE calls;
COPY calls (line) FROM stdin;
'01', o, ts, a, b
'02', o, local, a, b
'03', o, day, a, b
'04', o, big, a, b
'05', o, n, a, b
'06', o, counter, a, b
'07', '{"method": "zscore"}', ts, a, b
'08', '{"method": "zscore"}', local, a, b
'09'::text, '{"method": "zscore"}', day, a, b
'10', '{"method": "zscore"}', big, a, b
'11', '{"method": "zscore"}', ts, VARIADIC ARRAY[a, b]
'12', '{"method": "zscore"}', n, VARIADIC ARRAY[a, b]
$1, $2, ts, a, b with '13', '{"method": "zscore"}'
$1, $2, day, a, b with '14', '{"method": "zscore"}'
$1, $2, big, a, b with '15', '{"method": "zscore"}'
$1, $2::jsonb, n, a, b with '16', '{"method": "zscore"}'
'17', $1, ts, a, b with '{"method": "zscore"}'
$1::text, $2, ts, VARIADIC ARRAY[a, b] with '18', '{"method": "zscore"}'
\.
SELECT * FROM outcomes('SELECT s->''rows'' FROM (SELECT amad_train(%s) AS s FROM r) x');
SELECT time, string_agg(model_name, ' ' ORDER BY model_name) AS models
FROM amad_models m LEFT JOIN reference f ON m.model::text = f.model GROUP BY time ORDER BY time;
-- ambiguous, or of another type
TRUNCATE calls;
COPY calls (line) FROM stdin;
'm', '{"method": "zscore"}', n, a, b
$1, $2, n, a, b with 'm', '{"method": "zscore"}'
$1, $2, $3, a with 'm', '{"method": "zscore"}', 1
'm', o, '2026-01-01', a
'm', o::text, ts, a
\.
SELECT * FROM outcomes('SELECT s->''rows'' FROM (SELECT amad_train(%s) AS s FROM r) x');
-- by the name of a source
TRUNCATE calls;
COPY calls (line) FROM stdin;
'm', 'r', 'ts', '{a,b}', options => '{"method": "zscore"}'
'm', 'r', 'n', ARRAY['a', 'b'], NULL, NULL, '{"method": "zscore"}'
$1, $2, timestamp_col => $3, feature_cols => $4, options => $5 with 'm', 'r', 'small', '{a}', '{"method": "zscore"}'
model_name => 'm', source => 'SELECT ts, a FROM r', options => '{"method": "zscore"}'
'm', 'SELECT ts, a FROM r LIMIT 9'
$1, $2 with 'm', 'SELECT ts, a FROM r LIMIT 9'
'm', 'SELECT ts, a FROM r LIMIT 9', 'ts'
$1, $2, $3 with 'm', 'SELECT ts, a FROM r LIMIT 9', 'ts'
'm', 'SELECT ts, a FROM r LIMIT 9', 'ts', '{a}'
$1, $2, $3, $4, $5, $6, $7 with 'm', 'r', 'day', '{a}', NULL, NULL, '{"method": "zscore"}'
\.
SELECT * FROM outcomes('SELECT s->''rows'' FROM amad_train(%s) s');

-- ---- amad_score and amad_explain, by name and by value, with and without a series

DELETE FROM amad_models;
SELECT amad_train('m', o, ts, a, b)->'version' AS m, amad_train('int', o, n, a, b)->'version' AS int,
	amad_train('days', o, day, a, b)->'version' AS days
FROM (SELECT n, ts, day, a, b, o || '{"features": ["a", "b"]}' AS o FROM r) x;
SELECT amad_train(name, 'SELECT *, 1 AS device FROM r', col, '{a,b}', '{device}', options => o)->'version' AS version
FROM r, (VALUES ('fleet', 'ts'), ('fleet int', 'n'), ('fleet days', 'day')) v(name, col) WHERE n = 1;
CREATE TABLE v AS
SELECT m.model, i.model AS int, d.model AS days, f.model AS fleet, r.*
FROM r, amad_models m, amad_models i, amad_models d, amad_models f
WHERE (m.model_name, i.model_name, d.model_name, f.model_name) = ('m', 'int', 'days', 'fleet');
-- all of these models give the same scores to the same rows
CREATE FUNCTION digest(e jsonb) RETURNS text LANGUAGE sql AS $$ SELECT (e - '{ts,model_version}'::text[])::text $$;
CREATE TABLE expected AS
SELECT md5(string_agg(s::text, ' ' ORDER BY n)) AS scores,
	md5(string_agg(digest(to_jsonb(e)), ' ' ORDER BY n)) AS reasons
FROM (SELECT n, amad_score(model, ts, a, b) OVER w AS s, amad_explain(model, ts, a, b) OVER w AS e
	FROM v WINDOW w AS (ORDER BY n)) x;
-- The outcome of amad_score, and that of amad_explain if it differs
CREATE FUNCTION scored() RETURNS TABLE (call text, outcome text) LANGUAGE sql AS $$
	SELECT call, s.outcome || CASE WHEN e.outcome <> s.outcome THEN ', ' || e.outcome ELSE '' END
	FROM outcomes('SELECT CASE md5(string_agg(s::text, '' '' ORDER BY n)) WHEN scores THEN ''same'' ELSE ''other'' END
		FROM (SELECT n, amad_score(%s) OVER (ORDER BY n) AS s FROM v) x, expected GROUP BY scores') WITH ORDINALITY s
	JOIN outcomes('SELECT CASE md5(string_agg(digest(to_jsonb(e)), '' '' ORDER BY n))
			WHEN reasons THEN ''same'' ELSE ''other'' END
		FROM (SELECT n, amad_explain(%s) OVER (ORDER BY n) AS e FROM v) x, expected GROUP BY reasons') WITH ORDINALITY e
	USING (call, ordinality) ORDER BY ordinality $$;
TRUNCATE calls;
COPY calls (line) FROM stdin;
'm', ts, a, b
'm', local, a, b
'm', moment, a, b
'days', day, a, b
'int', big, a, b
'int', n, a, b
'int', small, a, b
'int', counter, a, b
'int', n + 1, a, b
'm'::text, ts, a, b
'm'::name, ts, a, b
'days'::varchar, day, a, b
'm', ts, VARIADIC ARRAY[a, b]
'int', n, VARIADIC ARRAY[a, b]
model_name => 'm', ts => ts, VARIADIC features => ARRAY[a, b]
model, ts, a, b
model, local, a, b
model, moment, a, b
days, day, a, b
int, big, a, b
int, n, a, b
int, small, a, b
int, counter, a, b
model, ts, VARIADIC ARRAY[a, b]
int, n, VARIADIC ARRAY[a, b]
model => days, ts => day, VARIADIC features => ARRAY[a, b]
(SELECT model FROM amad_models WHERE model_name = 'm'), ts, a, b
$1, ts, a, b with 'm'
$1, n, a, b with 'int'
$1, day, VARIADIC ARRAY[a, b] with 'days'
$1::text, small, a, b with 'int'
'm', ts, a + $1::float8, b with 0
'm', ts + $1::interval, a, b with '1 day'
'int', n + $1, a, b with 1
'm', ts + $1, a, b with '1 day'
\.
SELECT * FROM scored();
-- a time that has no type, or one that is not a time; another first argument; features that have no type
TRUNCATE calls;
COPY calls (line) FROM stdin;
'm', '2026-01-01', a, b
'm', '2026-01-01', a
'm', '2026-01-01', VARIADIC ARRAY[a, b]
model, '2026-01-01', a, b
'm', NULL, a, b
$1, $2, a, b with 'm', 1
model, $1, a, b with 1
'int', '7', n, n
'm', num, a, b
'm', txt, a, b
'm', bool, a, b
'm', a, b
model, txt, a, b
n, ts, a, b
o, ts, a, b
ts, a, b
'm', ts
'm', ts, '1', b
'm', ts, a, $1 with 1
\.
SELECT * FROM scored();
-- a series
TRUNCATE calls;
COPY calls (line) FROM stdin;
'fleet', s, ts, a, b
'fleet', s, local, a, b
'fleet', s, moment, a, b
'fleet days', s, day, a, b
'fleet int', s, big, a, b
'fleet int', s, n, a, b
'fleet int', s, small, a, b
'fleet int', s, counter, a, b
'fleet', s::document, ts, a, b
'fleet', to_jsonb(1), ts, a, b
'fleet', '1', ts, a, b
'fleet', '1', local, a, b
'fleet days', '1', day, a, b
'fleet int', '1', big, a, b
'fleet', '{"device": 1}', ts, a, b
'fleet', NULL, ts, a, b
'fleet', NULL::jsonb, ts, a, b
'fleet', s, ts, VARIADIC ARRAY[a, b]
'fleet int', s, n, VARIADIC ARRAY[a, b]
'fleet', '1', ts, VARIADIC ARRAY[a, b]
'fleet int', '1', n, VARIADIC ARRAY[a, b]
model_name => 'fleet', series => '1', ts => ts, VARIADIC features => ARRAY[a, b]
'fleet days'::text, '1', day, a, b
fleet, s, ts, a, b
fleet, s, local, a, b
fleet, '1', ts, a, b
fleet, '1', local, a, b
fleet, '1', ts, VARIADIC ARRAY[a, b]
$1, $2, ts, a, b with 'fleet', '1'
$1, $2, local, a, b with 'fleet', '1'
$1, $2, day, a, b with 'fleet days', '1'
$1, $2, big, a, b with 'fleet int', '1'
$1::text, $2::jsonb, n, a, b with 'fleet int', '1'
fleet, $1, ts, a, b with '1'
fleet, $1, local, a, b with '1'
$1, $2, ts, VARIADIC ARRAY[a, b] with 'fleet', '1'
$1, to_jsonb($2::int), ts, a, b with 'fleet', 1
\.
SELECT * FROM scored();
-- ambiguous, or of another type
TRUNCATE calls;
COPY calls (line) FROM stdin;
'fleet int', '1', n, a, b
$1, $2, n, a, b with 'fleet int', '1'
'fleet', s, '2026-01-01', a, b
'fleet', s, $1, a, b with 1
fleet, $1, $2, a, b with '1', 1
'fleet', 1, ts, a, b
'fleet', '1'::text, ts, a, b
'fleet', s::json, ts, a, b
'fleet', s, num, a, b
'fleet', s, txt, a, b
'fleet', s, ts
'fleet', '1', ts
\.
SELECT * FROM scored();

-- ---- amad_evaluate: the threshold shows whether options were read, the delay whether times were

CREATE TABLE e AS
SELECT *, score::real AS score_real, score::int AS score_int, score::numeric AS score_num,
	label::int AS label_int, label::int::float8 AS label_float, label::int::numeric AS label_num,
	'{"threshold": 0.5}'::jsonb AS oo
FROM r, LATERAL (SELECT CASE n WHEN 11 THEN 1 ELSE 0 END::float8 AS score, n IN (10, 11) AS label) x WHERE n < 13;
TRUNCATE calls;
COPY calls (line) FROM stdin;
score, label
score, label_int
score, label_float
score, label_num
score_int, label
score, label, oo::document
score_real, label_int
score_num, label_num
score_num, label
score, label ORDER BY n
score, '1'
score, true
score, NULL
score, $1 with 1
score, $1::boolean with true
'1', label
$1, label with 1
'1', label_float
$1, label_int with 1
score, 'true'
$1, $2 with 1, true
'1', '1'
score, txt
txt, label
label, score
\.
SELECT * FROM outcomes('SELECT concat_ws('' '', m->''threshold'', m->''delay_rows_mean'', m->''delay_seconds_mean'')
	FROM (SELECT amad_evaluate(%s) AS m FROM e) x');
-- with options
TRUNCATE calls;
COPY calls (line) FROM stdin;
score, label, oo
score, label_int, oo
score, label_float, oo
score_num, label_num, oo
score_int, label, oo
score_real, label_float, oo
score, label, '{"threshold": 0.5}'
score, label_int, '{"threshold": 0.5}'
score, label_float, '{"threshold": 0.5}'
score, label_num, '{"threshold": 0.5}'
score_int, label, '{"threshold": 0.5}'
score_int, label_int, '{"threshold": 0.5}'
score_num, label_num, '{"threshold": 0.5}'
score_real, label_float, '{"threshold": 0.5}'
score, label, $1 with '{"threshold": 0.5}'
score, label_int, $1 with '{"threshold": 0.5}'
score, label_float, $1 with '{"threshold": 0.5}'
score_num, label_num, $1 with '{"threshold": 0.5}'
score_int, label_int, $1 with '{"threshold": 0.5}'
score_real, label_float, $1 with '{"threshold": 0.5}'
score, label, NULL
score, label_float, NULL
score, label_int, NULL
$1, label, oo with 1
$1, label, '{"threshold": 0.5}' with 1
score, $1, oo with 1
score, $1, $2 with 1, '{}'
$1, label, $2 with 1, '{}'
$1, $2, $3 with 1, true, '{}'
$1, label_float, '{}' with 1
'1', label_float, '{}'
score, label, oo::text
score, label, label
\.
SELECT * FROM outcomes('SELECT concat_ws('' '', m->''threshold'', m->''delay_rows_mean'', m->''delay_seconds_mean'')
	FROM (SELECT amad_evaluate(%s) AS m FROM e) x');
-- with times
TRUNCATE calls;
COPY calls (line) FROM stdin;
ts, score, label
local, score, label
day, score, label
moment, score, label
big, score, label
n, score, label
small, score, label
counter, score, label
ts, score, label_int
ts, score, label_float
local, score, label_num
day, score_int, label_int
ts, score_num, label
ts, score_real, label_float
n, score_num, label_num
n, score_int, label_int
$1::timestamptz, score, label with '2026-01-01'
$1::bigint, score, label with 1
ts, $1, label with 1
ts, '1', label
'2026-01-01', score, label
$1, score, label with '2026-01-01'
ts, score, $1 with 1
ts, score, NULL
num, score, label
txt, score, label
label, score, label
o, score, label
interval '1 day', score, label
\.
SELECT * FROM outcomes('SELECT concat_ws('' '', m->''threshold'', m->''delay_rows_mean'', m->''delay_seconds_mean'')
	FROM (SELECT amad_evaluate(%s) AS m FROM e) x');
-- with times and options
TRUNCATE calls;
COPY calls (line) FROM stdin;
ts, score, label, oo
local, score, label_int, oo
day, score_num, label_num, oo
moment, score, label_float, oo
big, score, label, oo
n, score_int, label_int, oo
counter, score_num, label, oo
ts, score, label, '{"threshold": 0.5}'
local, score, label_float, '{"threshold": 0.5}'
day, score_int, label_int, '{"threshold": 0.5}'
ts, score_num, label_num, '{"threshold": 0.5}'
n, score_num, label_num, '{"threshold": 0.5}'
small, score, label, '{"threshold": 0.5}'
ts, score, label, $1 with '{"threshold": 0.5}'
local, score, label_int, $1 with '{"threshold": 0.5}'
day, score_num, label_num, $1 with '{"threshold": 0.5}'
ts, score_real, label_float, $1 with '{"threshold": 0.5}'
big, score, label, $1 with '{"threshold": 0.5}'
ts, score, label, NULL
'2026-01-01', score, label, '{"threshold": 0.5}'
$1, score, label, $2 with '2026-01-01', '{"threshold": 0.5}'
ts, score, $1, $2 with 1, '{}'
ts, score, 'true', oo
txt, score, label, oo
ts, score, label, oo::text
\.
SELECT * FROM outcomes('SELECT concat_ws('' '', m->''threshold'', m->''delay_rows_mean'', m->''delay_seconds_mean'')
	FROM (SELECT amad_evaluate(%s) AS m FROM e) x');
-- one row, so that its time may be a constant
TRUNCATE calls;
COPY calls (line) FROM stdin;
'2026-01-01', score, label
'2026-01-01', score, label_int, '{}'
'2026-01-01 00:00+05', 0.5, true
'infinity', score, label
'nonsense', score, label
NULL, score, label
$1, score, label with '2026-01-01'
$1, score, label, $2 with '2026-01-01', '{}'
$1::date, score, label with '2026-01-01'
\.
SELECT * FROM outcomes('SELECT m->''rows'' FROM (SELECT amad_evaluate(%s) AS m FROM e WHERE n = 1) x');

DROP TABLE calls, r, twice, reference, v, expected, e;
DROP FUNCTION outcome, outcomes, digest, scored;
DROP DOMAIN moment, document, counter;
DELETE FROM amad_models;
