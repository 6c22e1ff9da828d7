--
-- Expectations and measurements.  A file of this folder declares what is right by expect(), creates a function for each
-- situation, which returns (scenario, measured), and calls it by run() for each variant.  tools/behaviour.sh reads
-- the result.
--
-- A scenario that raises an error has failed; the others go on.
--
CREATE SCHEMA behaviour;
ALTER DATABASE behaviour SET search_path = behaviour, public;
ALTER DATABASE behaviour SET timezone = 'UTC';
ALTER DATABASE behaviour SET jit = off;
-- the tables of a scenario are new and have no statistics
ALTER DATABASE behaviour SET enable_nestloop = off;
-- functions that do not exist are errors of the scenario that calls them
ALTER DATABASE behaviour SET check_function_bodies = off;
ALTER DATABASE behaviour SET client_min_messages = warning;
SET search_path = behaviour, public;

-- What is right. The value measured must be at least at_least or at most at_most; without both, it is only reported.
CREATE TABLE checks (
	number int GENERATED ALWAYS AS IDENTITY,
	kind text NOT NULL DEFAULT current_setting('behaviour.kind'),
	scenario text PRIMARY KEY,
	situation text NOT NULL,	-- function that measures it
	outcome text NOT NULL,		-- what is right, in words
	unit text NOT NULL,
	at_least float8,
	at_most float8,
	CHECK (at_least IS NULL OR at_most IS NULL)
);

CREATE TABLE results (
	scenario text REFERENCES checks,
	variant text,
	measured float8,
	error text,
	PRIMARY KEY (scenario, variant)
);

-- test/behaviour/known_failures.txt; the variant '*' means all
CREATE TABLE known_failures (
	scenario text,
	variant text,
	reason text,
	PRIMARY KEY (scenario, variant)
);

-- The highest severity that each situation has seen, and the number of those that are not finite
CREATE TABLE severities_seen (
	kind text DEFAULT current_setting('behaviour.kind'),
	highest float8,
	not_finite bigint
);

CREATE FUNCTION expect(situation text, scenario text, outcome text, unit text, at_least float8 DEFAULT NULL,
	at_most float8 DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	INSERT INTO checks (situation, scenario, outcome, unit, at_least, at_most)
	VALUES (situation, scenario, outcome, unit, at_least, at_most) $$;

-- Variants as the arguments of a situation: all combinations of the values given
CREATE FUNCTION grid(columns int[] DEFAULT '{NULL}', noise float8[] DEFAULT '{NULL}', what text[] DEFAULT '{NULL}',
	seed int[] DEFAULT '{1}') RETURNS SETOF json LANGUAGE sql AS $$
	SELECT json_strip_nulls(json_build_object('columns', c, 'noise', n, 'what', w, 'seed', s))
	FROM unnest(columns) WITH ORDINALITY a(c, i), unnest(noise) WITH ORDINALITY b(n, j),
		unnest(what) WITH ORDINALITY d(w, k), unnest(seed) s
	ORDER BY i, j, k, s $$;

CREATE FUNCTION in_words(variant json) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(CASE key WHEN 'what' THEN value WHEN 'k' THEN 'column ' || value WHEN 'columns' THEN value || CASE value WHEN '1' THEN ' column'
		ELSE ' columns' END ELSE key || ' ' || value END, ', ') FROM json_each_text(variant) $$;

-- Measures one variant of a situation. The first call counts.
CREATE FUNCTION run(situation text, variant json) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	arguments text := (SELECT string_agg(format('%I => %L', key, value), ', ') FROM json_each_text(variant));
	message text;
BEGIN
	IF EXISTS (SELECT FROM results JOIN checks c USING (scenario) WHERE c.situation = run.situation
		AND results.variant = in_words(run.variant))
	THEN
		RETURN;
	END IF;
	BEGIN
		EXECUTE format('INSERT INTO results (scenario, variant, measured) SELECT scenario, $1, measured FROM %I(%s)',
			situation, arguments) USING in_words(variant);
	EXCEPTION WHEN OTHERS THEN
		message := SQLERRM;
	END;
	INSERT INTO results (scenario, variant, error)
	SELECT c.scenario, in_words(run.variant), coalesce(message, 'nothing was measured')
	FROM checks c WHERE c.situation = run.situation ON CONFLICT DO NOTHING;
END $$;

-- A number for people: four digits at most
CREATE FUNCTION readable(x float8) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN x IS NULL THEN 'none' WHEN abs(x) >= 1e6 THEN trim(to_char(x, '9.9EEEE'))
		WHEN abs(x) >= 100 THEN round(x)::text
		WHEN abs(x) >= 10 THEN trim_scale(round(x::numeric, 1))::text
		ELSE trim_scale(round(x::numeric, 3))::text END $$;

CREATE VIEW points AS
SELECT kind, number, scenario, r.variant, concat_ws(' ', readable(measured), unit) AS measured_text, error, k.reason,
	coalesce(CASE WHEN at_least IS NULL THEN measured <= at_most ELSE measured >= at_least END, false) AS passed,
	CASE WHEN at_least IS NULL THEN 'at most ' || readable(at_most) ELSE 'at least ' || readable(at_least) END AS bound
FROM results r JOIN checks USING (scenario)
LEFT JOIN LATERAL (SELECT reason FROM known_failures k WHERE k.scenario = r.scenario AND k.variant IN ('*', r.variant)
				   LIMIT 1) k ON true
WHERE num_nonnulls(at_least, at_most) > 0;

-- Called after each file: every severity that it has seen can be read and plotted.
CREATE FUNCTION check_severities() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	kind text := replace(current_setting('behaviour.kind'), '_', ' ');
	seen record;
BEGIN
	SELECT max(highest) AS highest, sum(not_finite) AS not_finite INTO seen
	FROM severities_seen s WHERE s.kind = current_setting('behaviour.kind');
	IF seen.highest IS NULL THEN
		RETURN;
	END IF;
	PERFORM expect('check_severities', kind || ': highest severity', 'severities of all scenarios can be plotted', '',
		at_most => 1000);
	PERFORM expect('check_severities', kind || ': severities not finite', 'every severity is a number', 'rows',
		at_most => 0);
	INSERT INTO results (scenario, variant, measured) VALUES (kind || ': highest severity', 'all', seen.highest),
		(kind || ': severities not finite', 'all', seen.not_finite);
END $$;
