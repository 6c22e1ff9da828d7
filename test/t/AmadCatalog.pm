# The extension in the system catalogs, as text without oids, so that two installations can be compared.
#
#   catalog($node, $db)              lines, sorted: "CATALOG OBJECT COLUMN: VALUE"
#   catalog_differences(\@a, \@b)    lines in only one of them, "-" in a, "+" in b
#
# It covers the members of the extension in all catalogs (functions, aggregates, types, tables,
# views, operators, casts, ...) and what belongs to them: array and row types, columns, defaults, constraints,
# indexes, policies, triggers, rules, privileges (present and initial), comments, dependencies, and the
# configuration tables. Every column of a catalog is compared, also in newer servers, unless it is listed as
# irrelevant: file numbers, statistics, positions of dropped columns.
# Rules and bodies of SQL functions are compared by their definitions.
package AmadCatalog;

use strict;
use warnings;

use Exporter 'import';
our @EXPORT = qw(catalog catalog_differences);

# Irrelevant columns, which may differ between installations
my @ignored = qw(oid relfilenode reltablespace relpages reltuples relallvisible relallfrozen relfrozenxid
  relminmxid reltoastrelid relhastriggers relnatts attnum attrelid attcacheoff attmissingval atthasmissing attstattarget
  conkey confkey indkey indexrelid adrelid adnum polrelid tgrelid ev_class objoid classoid objsubid privtype
  aggfnoid ev_qual ev_action prosqlbody);
my $ignored = join ', ', map { "'$_'" } @ignored;

# A function that reads rows of a catalog: oids become descriptions of objects, by the foreign keys of the
# system catalogs (pg_get_catalog_foreign_keys); expressions are deparsed; privileges are sorted.
my $functions = qq{
CREATE FUNCTION pg_temp.rows_of(catalog regclass, identity text, relation text, condition text)
RETURNS SETOF text LANGUAGE plpgsql AS \$\$
DECLARE
	columns text;
BEGIN
	SELECT string_agg(format('(%L, %s)', a.attname,
		CASE
			WHEN k.pktable IS NOT NULL AND k.is_array THEN
				format('(SELECT string_agg(pg_describe_object(%L::regclass, o, 0), '', '' ORDER BY i)
						 FROM unnest(x.%I::oid[]) WITH ORDINALITY AS u (o, i))', k.pktable, a.attname)
			WHEN k.pktable IS NOT NULL THEN
				format('CASE WHEN x.%I <> 0 THEN pg_describe_object(%L::regclass, x.%I, 0) END',
					   a.attname, k.pktable, a.attname)
			WHEN a.attname = 'prosqlbody' THEN 'pg_get_function_sqlbody(x.oid)'
			WHEN a.atttypid = 'pg_node_tree'::regtype THEN format('pg_get_expr(x.%I, %s)', a.attname, relation)
			WHEN a.atttypid = 'aclitem[]'::regtype THEN
				format('(SELECT string_agg(i::text, '', '' ORDER BY i::text) FROM unnest(x.%I) AS u (i))', a.attname)
			ELSE format('x.%I::text', a.attname)
		END), ', ' ORDER BY a.attnum)
	INTO columns
	FROM pg_attribute a
	LEFT JOIN pg_get_catalog_foreign_keys() k ON k.fktable = a.attrelid AND k.fkcols = ARRAY[a.attname::text]
	WHERE a.attrelid = catalog AND a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ($ignored);
	RETURN QUERY EXECUTE format('SELECT format(''%%s %%s %%s: %%s'', %L, %s, v.name, coalesce(v.value, ''-''))
								 FROM %s x, LATERAL (VALUES %s) AS v (name, value) WHERE %s',
								catalog, identity, catalog, columns, condition);
END
\$\$;

CREATE TEMP TABLE objects AS
SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'amad';
-- tables bring a row type, indexes, defaults, constraints, policies, triggers and rules; types an array type
INSERT INTO objects SELECT 'pg_class'::regclass, typrelid FROM pg_type
	WHERE typrelid <> 0 AND oid IN (SELECT objid FROM objects WHERE classid = 'pg_type'::regclass);
INSERT INTO objects SELECT 'pg_class'::regclass, indexrelid FROM pg_index
	WHERE indrelid IN (SELECT objid FROM objects WHERE classid = 'pg_class'::regclass);
INSERT INTO objects SELECT 'pg_type'::regclass, oid FROM pg_type
	WHERE typrelid IN (SELECT objid FROM objects WHERE classid = 'pg_class'::regclass);
INSERT INTO objects SELECT 'pg_type'::regclass, typarray FROM pg_type
	WHERE typarray <> 0 AND oid IN (SELECT objid FROM objects WHERE classid = 'pg_type'::regclass);
INSERT INTO objects SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
	WHERE conrelid IN (SELECT objid FROM objects WHERE classid = 'pg_class'::regclass)
	   OR contypid IN (SELECT objid FROM objects WHERE classid = 'pg_type'::regclass);
INSERT INTO objects SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef
	WHERE adrelid IN (SELECT objid FROM objects WHERE classid = 'pg_class'::regclass);
INSERT INTO objects SELECT 'pg_policy'::regclass, oid FROM pg_policy
	WHERE polrelid IN (SELECT objid FROM objects WHERE classid = 'pg_class'::regclass);
INSERT INTO objects SELECT 'pg_trigger'::regclass, oid FROM pg_trigger
	WHERE NOT tgisinternal AND tgrelid IN (SELECT objid FROM objects WHERE classid = 'pg_class'::regclass);
INSERT INTO objects SELECT 'pg_rewrite'::regclass, oid FROM pg_rewrite
	WHERE ev_class IN (SELECT objid FROM objects WHERE classid = 'pg_class'::regclass);
INSERT INTO objects SELECT 'pg_extension'::regclass, oid FROM pg_extension WHERE extname = 'amad';
CREATE TEMP TABLE described AS
SELECT DISTINCT classid::regclass AS classid, objid, pg_describe_object(classid, objid, 0) AS identity FROM objects;
};

# Rows of catalogs with oids, of catalogs that belong to them, and of those that refer to objects
my $query = q{
SELECT line FROM (SELECT DISTINCT classid FROM described) c,
	LATERAL pg_temp.rows_of(classid, format('pg_describe_object(%L::regclass, x.oid, 0)', classid),
		CASE classid::text WHEN 'pg_attrdef' THEN 'x.adrelid' WHEN 'pg_policy' THEN 'x.polrelid' WHEN 'pg_constraint' THEN 'x.conrelid'
			WHEN 'pg_trigger' THEN 'x.tgrelid' WHEN 'pg_rewrite' THEN 'x.ev_class' ELSE '0' END,
		format('x.oid IN (SELECT objid FROM described WHERE classid = %L::regclass)', classid)) AS line
UNION ALL
SELECT pg_temp.rows_of('pg_aggregate', $$pg_describe_object('pg_proc'::regclass, x.aggfnoid, 0)$$, '0',
	$$x.aggfnoid IN (SELECT objid FROM described WHERE classid = 'pg_proc'::regclass)$$)
UNION ALL
SELECT pg_temp.rows_of('pg_attribute', $$pg_describe_object('pg_class'::regclass, x.attrelid, x.attnum)$$, 'x.attrelid',
	$$x.attnum > 0 AND NOT x.attisdropped AND x.attrelid IN (SELECT objid FROM described WHERE classid = 'pg_class'::regclass)$$)
UNION ALL
SELECT pg_temp.rows_of('pg_index', $$pg_describe_object('pg_class'::regclass, x.indexrelid, 0)$$, 'x.indrelid',
	$$x.indexrelid IN (SELECT objid FROM described WHERE classid = 'pg_class'::regclass)$$)
UNION ALL
SELECT pg_temp.rows_of('pg_init_privs', $$pg_describe_object(x.classoid, x.objoid, x.objsubid)$$, '0',
	$$(x.classoid, x.objoid) IN (SELECT classid, objid FROM described)$$)
UNION ALL
SELECT format('pg_description %s: %s', pg_describe_object(classoid, objoid, objsubid), description)
FROM pg_description JOIN described ON classoid = classid AND objoid = objid
UNION ALL
SELECT format('order of columns of %s: %s', identity, string_agg(attname, ', ' ORDER BY attnum))
FROM described JOIN pg_attribute ON attrelid = objid AND attnum > 0 AND NOT attisdropped
WHERE classid = 'pg_class'::regclass GROUP BY identity
UNION ALL
SELECT format('definition of %s: %s', identity, CASE classid::text WHEN 'pg_constraint' THEN pg_get_constraintdef(objid)
	WHEN 'pg_trigger' THEN pg_get_triggerdef(objid) WHEN 'pg_rewrite' THEN pg_get_ruledef(objid)
	WHEN 'pg_proc' THEN pg_get_function_sqlbody(objid)
	ELSE pg_get_indexdef(objid) END)
FROM described WHERE classid::text IN ('pg_constraint', 'pg_trigger', 'pg_rewrite') OR classid = 'pg_proc'::regclass AND pg_get_function_sqlbody(objid) IS NOT NULL
	OR classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_index WHERE indexrelid = objid)
UNION ALL
SELECT format('pg_depend %s on %s: %s', pg_describe_object(d.classid, d.objid, d.objsubid),
	pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid), d.deptype)
FROM pg_depend d JOIN described o ON d.classid = o.classid AND d.objid = o.objid
};

sub catalog
{
	my ($node, $db) = @_;

	# newer servers count changes of a column in its options
	return sort map { s/(attoptions: )\{pg_attver=\d+\}$/$1-/r =~ s/pg_attver=\d+,?//r } split /\n/,
	  $node->safe_psql($db, "SET search_path = pg_catalog;\n$functions"
		  . "SELECT replace(line, E'\\n', '\\n') FROM ($query) AS l (line);");
}

sub catalog_differences
{
	my ($a, $b) = @_;
	my (%count, @differences);

	$count{$_}-- for @$a;
	$count{$_}++ for @$b;
	for my $line (sort keys %count)
	{
		push @differences, ($count{$line} < 0 ? '- ' : '+ ') . $line if $count{$line} != 0;
	}
	return @differences;
}

1;
