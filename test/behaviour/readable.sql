-- Severities that can be read
--
-- A larger deviation has a larger severity, and the numbers fit on a chart: 1 is the threshold, and some hundreds are
-- the most. (The highest severity of each other kind is measured with that kind.)

SELECT expect('ladder', 'larger deviation, larger severity: steps that do not rise',
	'×2, ×5, ×10, ×100 and ×1e6 are in this order', 'steps', at_most => 0);
SELECT expect('ladder', 'larger deviation, larger severity: least step', 'neighbouring ones can be told apart', '×',
	at_least => 1.001);
SELECT expect('ladder', 'largest deviation: its severity', 'one reading × 1e6 can be plotted', '', at_most => 1000);

CREATE FUNCTION ladder(columns int, noise float8, what text, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
	k int := CASE WHEN columns < 3 THEN 1 ELSE 3 END;
BEGIN
	RETURN QUERY
	WITH glitches AS MATERIALIZED (
		SELECT factor, s.severity FROM unnest('{2,5,10,100,1e6}'::float8[]) factor,
			severities(m,
				format(CASE what WHEN 'one row' THEN 'CASE WHEN n = 5412 ' ELSE 'CASE WHEN n BETWEEN 5406 AND 5412 ' END
				|| 'THEN with_value(c, %s, %s * c[%1$s]) ELSE c END', k, factor)) s
		WHERE s.n = 5412
	), steps AS (
		SELECT severity / lag(severity) OVER (ORDER BY factor) AS step FROM glitches
	)
	SELECT 'larger deviation, larger severity: steps that do not rise', (count(*) FILTER (WHERE step <= 1))::float8
	FROM steps
	UNION ALL
	SELECT 'larger deviation, larger severity: least step', min(step) FROM steps
	UNION ALL
	SELECT 'largest deviation: its severity', max(severity) FROM glitches;
END $$;

SELECT run('ladder', v) FROM grid('{3}', '{1}', '{one row,seven rows}') v;
SELECT run('ladder', v) FROM grid('{10}', '{1}', '{one row}') v;
\if :full
SELECT run('ladder', v) FROM grid('{1,3,10,20}', '{0.2,1,5}', '{one row,seven rows}') v;
\endif
