--
-- Series for the scenarios, the same on every machine, and functions that score changed copies of them.
--

-- Uniform noise from 0 to 1
CREATE FUNCTION noise(seed int, n bigint) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT (hashint8extended(n, seed) & 1048575)::float8 / 1048576 $$;

-- Normal noise, mean 0 and standard deviation 1
CREATE FUNCTION gauss(seed int, n bigint) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT sqrt(-2 * ln(1 - noise(seed, n))) * cos(2 * pi() * noise(seed + 500000, n)) $$;

CREATE FUNCTION daily(n bigint, phase float8 DEFAULT 0) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT sin(2 * pi() * n / 288 + phase) $$;

-- Row n of a series with a row every five minutes, beginning on a Tuesday
CREATE FUNCTION at(n bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
	SELECT timestamptz '2026-09-01 00:00+00' + n * interval '5 min' $$;

-- A metric of a host. Metrics 1 and 2 of 3 follow the day; beside them there are a noisy level, a quicker wave and a
-- metric that follows the first one. Each seventh metric, and the second of two, is constant.
CREATE FUNCTION host_metric(columns int, k int, n bigint, level float8, seed int) RETURNS float8
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE
		WHEN k % 7 = 0 OR columns = 2 AND k = 2 THEN 7
		WHEN k % 5 IN (1, 2, 3) THEN 40 + 20 * k + 20 * daily(n, (k - 1) % 4 * 0.5)
		WHEN k % 5 = 4 THEN 10 * k
		ELSE 30 + 8 * sin(2 * pi() * n / 40 + k)
		END
		+ CASE
		WHEN k % 7 = 0 OR columns = 2 AND k = 2 THEN 0
		WHEN k % 5 = 3 THEN level * (3 * noise(seed * 1000 + 1, n) + 2 * noise(seed * 1000 + k, n))
		WHEN k % 2 = 0 THEN level * 0.6 * gauss(seed * 1000 + k, n)
		ELSE level * 2 * noise(seed * 1000 + k, n)
		END $$;

-- Rows that models were trained on (part 'train') and those that follow, with their severity as they are
CREATE TABLE rows (
	model text,
	n bigint,
	ts timestamptz,
	c float8[],
	base float8,
	PRIMARY KEY (model, n)
);
CREATE TABLE summaries (
	model text PRIMARY KEY,
	summary jsonb	-- of amad_train
);
CREATE TABLE deviations (
	model text,
	k int,
	sd float8,	-- of the training rows
	PRIMARY KEY (model, k)
);

-- Trains a model with default options, if that has not been done: 17 days of a host. Four more days follow.
-- Scoring begins with row 4608, judgement with row 4896, behind the warm-up.
CREATE FUNCTION host(columns int, noise float8, seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name text := format('host %s %s %s', columns, noise, seed);
BEGIN
	IF NOT EXISTS (SELECT FROM rows WHERE model = name) THEN
		INSERT INTO rows (model, n, ts, c)
		SELECT name, n, at(n), array_agg(host_metric(columns, k, n, noise, seed) ORDER BY k)
		FROM generate_series(0, 21 * 288 - 1) n, generate_series(1, columns) k GROUP BY n;
		PERFORM train(name, 17 * 288);
	END IF;
	RETURN name;
END $$;

-- Trains a model on the rows before a row and stores their severities, with options only where these are the subject
CREATE FUNCTION train(name text, before bigint, options jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	summary jsonb;
BEGIN
	SELECT amad_train(name, options, ts, VARIADIC c) INTO summary FROM rows WHERE model = name AND n < before;
	INSERT INTO summaries VALUES (name, summary);
	INSERT INTO deviations SELECT name, k, stddev(x) FROM rows, unnest(c) WITH ORDINALITY u(x, k)
	WHERE model = name AND n < before GROUP BY k;
	UPDATE rows SET base = s.severity
	FROM (SELECT n, amad_score(name, ts, VARIADIC c) OVER (ORDER BY ts) AS severity FROM rows WHERE model = name) s
	WHERE rows.model = name AND rows.n = s.n;
	INSERT INTO severities_seen (highest, not_finite)
	SELECT max(base), count(*) FILTER (WHERE base IN ('NaN', 'Infinity', '-Infinity')) FROM rows WHERE model = name;
	RETURN summary;
END $$;

-- A row with another value in column k
CREATE FUNCTION with_value(c float8[], k int, value float8) RETURNS float8[] LANGUAGE sql IMMUTABLE AS $$
	SELECT c[:k - 1] || ARRAY[value] || c[k + 1:] $$;

CREATE FUNCTION deviation(name text, column_number int) RETURNS float8 LANGUAGE sql STABLE AS $$
	SELECT sd FROM deviations WHERE model = name AND k = column_number $$;

-- Severities of rows of a model from row `first` on after a change, an expression of n and c. base is the severity
-- without the change.
CREATE FUNCTION severities(name text, change text DEFAULT 'c', first bigint DEFAULT 16 * 288)
RETURNS TABLE (n bigint, severity float8, base float8) LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE IF NOT EXISTS scored (n bigint, severity float8, base float8);
	TRUNCATE scored;
	EXECUTE format('INSERT INTO scored SELECT n, amad_score(%L, ts, VARIADIC %s) OVER (ORDER BY ts), base FROM rows '
		'WHERE model = %1$L AND n >= %3$s', name, change, first);
	INSERT INTO severities_seen (highest, not_finite)
	SELECT max(s.severity), count(*) FILTER (WHERE s.severity IN ('NaN', 'Infinity', '-Infinity')) FROM scored s;
	RETURN QUERY SELECT * FROM scored s ORDER BY s.n;
END $$;

-- Contributions of rows after a change, a row for each column of each row
CREATE FUNCTION explanations(name text, change text DEFAULT 'c', first bigint DEFAULT 16 * 288)
RETURNS TABLE (n bigint, severity float8, k int, contribution float8) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT n, (e).severity, key::int, value::float8 FROM '
		'(SELECT n, amad_explain(%L, ts, VARIADIC %s) OVER (ORDER BY ts) AS e FROM rows '
		'WHERE model = %1$L AND n >= %3$s) s, '
		'jsonb_each_text((e).contributions)', name, change, first);
END $$;

CREATE FUNCTION percent_step(state bigint[], flagged boolean) RETURNS bigint[] LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN flagged IS NULL THEN state ELSE ARRAY[state[1] + 1, state[2] + flagged::int] END $$;
CREATE FUNCTION percent_final(state bigint[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT 100.0 * state[2] / nullif(state[1], 0) $$;
-- Share of rows in which a condition is true, of those where it is not null
CREATE AGGREGATE percent(boolean) (SFUNC = percent_step, STYPE = bigint[], INITCOND = '{0,0}',
	FINALFUNC = percent_final);

-- The servers of test/data/ASD: 8640 rows of normal operation, then 4320 with labels
CREATE TABLE real_rows (
	what text,
	n bigint,
	ts timestamptz,
	c float8[],
	label boolean
);

CREATE FUNCTION server(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM rows WHERE model = what) THEN
		INSERT INTO rows (model, n, ts, c) SELECT r.what, n, ts, c FROM real_rows r WHERE r.what = server.what;
		PERFORM train(what, 8640);
	END IF;
	RETURN what;
END $$;

-- Is the row labelled as anomalous, or does the longest horizon still contain such a row?
CREATE FUNCTION is_bad(entity text, row_number bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
	SELECT EXISTS (SELECT FROM real_rows WHERE what = entity AND label AND n BETWEEN row_number - 31 AND row_number) $$;
