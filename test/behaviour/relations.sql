-- Relations between columns
--
-- Columns are sines of their own phases with a noise that all share. In stretches of the test rows, some columns break
-- the relation, although each column alone looks as usual: "flip" changes the sign of their noise, "roll" shifts them in
-- time. The rows rank first, the alarm follows, and the contributions name the broken columns.

SELECT expect('relation', 'broken relation, 9 columns: VUS-PR',
	'the severity ranks the broken rows first', '', at_least => .99);
SELECT expect('relation', 'broken relation, 9 columns: columns named',
	'in each stretch, the contributions of the broken columns sum to half or more', '', at_least => .5);
SELECT expect('relation', 'broken relation, 9 columns: found',
	'each stretch is found within 32 rows', 'rows', at_most => 32);
SELECT expect('relation', 'broken relation, 9 columns: normal rows flagged',
	'rows outside the stretches and their 32 rows after',
	'% of rows', at_most => 5);
SELECT expect('few_columns', 'broken relation, few columns: VUS-PR',
	'the severity ranks the broken rows first', '', at_least => .95);
SELECT expect('few_columns', 'broken relation, few columns: columns named',
	'in each stretch, the contributions of the broken columns sum to half or more', '', at_least => .5);

-- Stretches of the test rows and the columns that break there
CREATE TABLE breaks (columns int, first int, last int, broken int[]);
INSERT INTO breaks VALUES (9, 2000, 2399, '{2,5,6}'), (9, 4500, 4799, '{4}'), (9, 6500, 6999, '{1,3,7,8,9}'),
	(9, 8500, 8799, '{5,6}'), (5, 1000, 1199, '{2}'), (5, 2500, 2699, '{3,5}'), (3, 1000, 1199, '{3}'), (3, 2500, 2699,
		'{1}');

CREATE FUNCTION related(columns int, k int, n bigint, level float8, seed int)
RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT sin(2 * pi() * (n / 50.0 + k / columns::float8)) + 0.3 * level * gauss(seed * 1000, n) $$;

-- Trains on relations as they are; the name of the model
CREATE FUNCTION relations_model(columns int, level float8, seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text := format('relations %s %s %s', columns, level, seed);
	training int := CASE columns WHEN 9 THEN 20000 ELSE 8000 END;
BEGIN
	IF NOT EXISTS (SELECT FROM rows WHERE model = m) THEN
		INSERT INTO rows (model, n, ts, c)
		SELECT m, n, at(n), array_agg(related(columns, k, n, level, seed) ORDER BY k)
		FROM generate_series(0, training - 1) n, generate_series(1, columns) k GROUP BY n;
		PERFORM train(m, training);
	END IF;
	RETURN m;
END $$;

CREATE FUNCTION break_relation(columns int, level float8, what text, seed int)
RETURNS TABLE (metric text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := relations_model(columns, level, seed);
	v_columns int := columns;
	offset_of_test int := CASE columns WHEN 9 THEN 30000 ELSE 20000 END;
	tests int := CASE columns WHEN 9 THEN 10000 ELSE 4000 END;
BEGIN
	CREATE TEMP TABLE s ON COMMIT DROP AS
	SELECT n, b.broken, b.first, (e).severity, (e).contributions
	FROM (SELECT n, amad_explain(m, at(n), VARIADIC c) OVER (ORDER BY n) AS e FROM
		(SELECT t - offset_of_test AS n, array_agg(CASE
			WHEN b.broken IS NULL THEN related(v_columns, k, t, level, seed)
			WHEN what = 'flip' THEN 2 * related(v_columns, k, t, 0, seed) - related(v_columns, k, t, level, seed)
			ELSE related(v_columns, k, t + 17 + 5 * k, level, seed) END ORDER BY k) AS c
		 FROM generate_series(offset_of_test, offset_of_test + tests - 1) t CROSS JOIN generate_series(1, v_columns) k
		 LEFT JOIN breaks b ON b.columns = v_columns AND t - offset_of_test BETWEEN b.first AND b.last
			AND k = ANY (b.broken)
		 GROUP BY t) r) x
	LEFT JOIN breaks b ON b.columns = v_columns AND n BETWEEN b.first AND b.last;
	INSERT INTO severities_seen (highest, not_finite)
	SELECT max(severity), count(*) FILTER (WHERE severity IN ('NaN', 'Infinity', '-Infinity')) FROM s;
	RETURN QUERY
	SELECT 'VUS-PR', (amad_evaluate(severity, (broken IS NOT NULL)::int ORDER BY n)->>'vus_pr')::float8 FROM s
	UNION ALL
	SELECT 'columns named', min(share) FROM (
		SELECT avg((SELECT sum((contributions->>k::text)::float8) FROM unnest(broken) k)) AS share
		FROM s WHERE broken IS NOT NULL GROUP BY broken) x
	UNION ALL
	-- a stretch that is not found counts as its length
	SELECT 'found', max(after)::float8 FROM (
		SELECT coalesce(min(n - first) FILTER (WHERE severity >= 1), count(*)) AS after FROM s WHERE broken IS NOT NULL
		GROUP BY first) x
	UNION ALL
	SELECT 'normal rows flagged', percent(severity >= 1) FROM s
	WHERE NOT EXISTS (SELECT FROM breaks b WHERE b.columns = v_columns AND s.n BETWEEN b.first AND b.last + 32);
	DROP TABLE s;
END $$;

CREATE FUNCTION relation(what text, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE sql AS $$
	SELECT 'broken relation, 9 columns: ' || metric, measured FROM break_relation(9, 1, what, seed) $$;
CREATE FUNCTION few_columns(columns int, noise float8, what text, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE sql AS $$
	SELECT 'broken relation, few columns: ' || metric, measured FROM break_relation(columns, noise, what, seed)
	WHERE metric IN ('VUS-PR', 'columns named') $$;

SELECT run('relation', v) FROM grid(what => '{flip,roll}') v;
SELECT run('few_columns', v) FROM grid('{3}', '{1}', '{flip}') v;
\if :full
SELECT run('relation', v) FROM grid(what => '{flip,roll}', seed => '{1,2,3}') v;
SELECT run('few_columns', v) FROM grid('{3,5}', '{0.2,1,2}', '{flip,roll}') v;
\endif
