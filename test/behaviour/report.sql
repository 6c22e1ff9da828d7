-- A table of Markdown with the measured values of a kind, for docs/behaviour.md
SELECT E'| scenario | right | limit | passed | median | worst |\n| --- | --- | --- | --- | --- | --- |';
SELECT format('| %s | %s | %s | %s | %s | %s |', scenario, outcome,
	CASE WHEN at_least IS NOT NULL THEN 'at least ' || readable(at_least)
		WHEN at_most IS NOT NULL THEN 'at most ' || readable(at_most) ELSE '' END || CASE WHEN num_nonnulls(at_least,
			at_most) = 0 OR unit = '' THEN '' ELSE ' ' || unit END,
	CASE WHEN num_nonnulls(at_least, at_most) = 0 THEN ''
		ELSE count(*) FILTER (WHERE measured >= at_least OR measured <= at_most) || ' of ' || count(*) END,
	readable(percentile_cont(0.5) WITHIN GROUP (ORDER BY measured)),
	CASE WHEN count(*) > count(measured) THEN format('none (%s ×)', count(*) - count(measured))
		WHEN at_least IS NOT NULL THEN readable(min(measured)) ELSE readable(max(measured)) END)
FROM checks JOIN results USING (scenario) WHERE kind = current_setting('behaviour.kind')
GROUP BY number, scenario, outcome, at_least, at_most, unit ORDER BY number;
