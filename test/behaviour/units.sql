-- Units
--
-- The same series in other units, or on another level, is judged the same. A column is constant when its values do not
-- change beyond the resolution of floating-point numbers, not when they change little beside 1 or beside their mean.

SELECT expect('units', 'other units: constant columns',
	'a column that changes is not constant', 'columns', at_most => 0);
SELECT expect('units', 'other units: difference of flagged rows',
	'as many rows are flagged as in plain units', 'points',
	at_most => 1);
SELECT expect('units', 'other units: difference of severities',
	'severities are those of plain units, in the median', '%',
	at_most => 10);
SELECT expect('units', 'other units: glitch of 10 sd found', 'its row is flagged', '', at_least => 1.1);

-- A wave of 2 with noise, times `scale` and plus `level`
CREATE FUNCTION in_units(scale float8, level float8, seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text := format('units %s %s %s', scale, level, seed);
BEGIN
	IF NOT EXISTS (SELECT FROM rows WHERE model = m) THEN
		INSERT INTO rows (model, n, ts, c)
		SELECT m, n, at(n), ARRAY[level + scale * (2 * sin(n / 10.0) + 0.2 * noise(seed, n))]
		FROM generate_series(0, 3999) n;
		PERFORM train(m, 3000);
	END IF;
	RETURN m;
END $$;

CREATE FUNCTION units(what text, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	plain text := in_units(1, 0, seed);
	m text := CASE what
		WHEN '1e13 ± 2e6' THEN in_units(1e6, 1e13, seed)
		WHEN '3e-7 ± 1e-8' THEN in_units(5e-9, 3e-7, seed)
		WHEN '± 1e-30' THEN in_units(1e-30, 0, seed)
		WHEN '± 1e30' THEN in_units(1e30, 0, seed)
		WHEN '1e9 ± 2' THEN in_units(1, 1e9, seed)
		WHEN '× 1e6' THEN in_units(1e6, 0, seed)
		WHEN '−1e9 ± 2' THEN in_units(1, -1e9, seed)
		WHEN '100 ± 1e-5' THEN in_units(5e-6, 100, seed) END;
BEGIN
	RETURN QUERY
	SELECT 'other units: constant columns', jsonb_array_length(coalesce(summary->'constant_features', '[]'))::float8
	FROM summaries WHERE model = m
	UNION ALL
	SELECT 'other units: difference of flagged rows', abs(percent(r.base >= 1) - percent(p.base >= 1))
	FROM rows r JOIN rows p USING (n) WHERE r.model = m AND p.model = plain
	UNION ALL
	SELECT 'other units: difference of severities',
		100 * percentile_cont(.5) WITHIN GROUP (ORDER BY abs(r.base / p.base - 1))
	FROM rows r JOIN rows p USING (n) WHERE r.model = m AND p.model = plain
	UNION ALL
	SELECT 'other units: glitch of 10 sd found', severity
	FROM severities(m, format('CASE WHEN n = 3700 THEN ARRAY[c[1] + %s] ELSE c END', 10 * deviation(m, 1)), 3400)
		WHERE n = 3700;
END $$;

SELECT run('units', v) FROM grid(what => '{1e13 ± 2e6,3e-7 ± 1e-8}') v;
\if :full
SELECT run('units', v)
FROM grid(what => '{1e13 ± 2e6,3e-7 ± 1e-8,± 1e-30,± 1e30,1e9 ± 2,−1e9 ± 2,× 1e6,100 ± 1e-5}', seed => '{1,2}') v;
\endif

-- ---- columns of different units in one model

SELECT expect('mixed_units', 'columns of different units: rows flagged', 'as usual', '% of rows', at_most => 3);
SELECT expect('mixed_units', 'columns of different units: shift found',
	'a shift of the smallest column is found within 32 rows',
	'rows', at_most => 32);
SELECT expect('mixed_units', 'columns of different units: shift named',
	'and it has the largest contribution', '% of rows',
	at_least => 75);

CREATE FUNCTION mixed_units(noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('mixed units %s %s', noise, seed);
	change text;
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[1e13 + 1e5 * host_metric(3, 1, n, noise, seed), 3e-7 + 1e-9 * host_metric(3, 2, n, noise,
		seed),
		host_metric(3, 3, n, noise, seed)]
	FROM generate_series(0, 21 * 288 - 1) n;
	PERFORM train(m, 17 * 288);
	change := format('CASE WHEN n >= 5500 THEN with_value(c, 2, c[2] + %s) ELSE c END', 3 * deviation(m, 2));
	RETURN QUERY
	SELECT 'columns of different units: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= 4896
	UNION ALL
	SELECT 'columns of different units: shift found', min(n)::float8 - 5500 FROM severities(m, change)
	WHERE n >= 5500 AND severity >= 1
	UNION ALL
	SELECT 'columns of different units: shift named', percent(top = 2)
	FROM (SELECT DISTINCT ON (n) n, k AS top FROM explanations(m, change)
		WHERE n BETWEEN 5500 AND 5531 AND severity >= 1
		  ORDER BY n, contribution DESC) t;
END $$;

SELECT run('mixed_units', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('mixed_units', v) FROM grid(noise => '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- changes of the last bit are not a signal

SELECT expect('last_bit', 'changes of the last bit: columns called constant',
	'a column that differs by rounding only is constant',
	'columns', at_least => 1);
SELECT expect('last_bit', 'changes of the last bit: rows flagged',
	'the live column beside it is judged as usual', '% of rows',
	at_most => 5);

CREATE FUNCTION last_bit(what text, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := 'last bit ' || what;
	summary jsonb;
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[host_metric(3, 1, n, 1, seed), CASE WHEN noise(7, n) < 0.5 THEN x ELSE y END]
	FROM generate_series(0, 3999) n,
		(SELECT CASE what WHEN '0.3' THEN 0.3 ELSE 1e13 / 3 END, CASE what WHEN '0.3' THEN 0.1::float8 + 0.2::float8
			ELSE 1e13::float8 / 3 + 0.0005 END) v(x, y);
	summary := train(m, 3000);
	RETURN QUERY
	SELECT 'changes of the last bit: columns called constant', jsonb_array_length(coalesce(summary->'constant_features',
		'[]'))::float8
	UNION ALL
	SELECT 'changes of the last bit: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= 3000;
END $$;

SELECT run('last_bit', v) FROM grid(what => '{0.3}') v;
\if :full
SELECT run('last_bit', v) FROM grid(what => '{0.3,1e13 / 3}') v;
\endif
