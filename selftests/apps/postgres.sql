-- SPDX-License-Identifier: GPL-2.0
-- What a database does with its files: every kind of index, table and large
-- value, transactions that fail, maintenance. The output is the result.
\set ON_ERROR_STOP 0
\set VERBOSITY terse
set client_min_messages = warning;
create table parent (id int primary key, name text unique, at timestamptz,
	data jsonb, tags int[], spot point, period tstzrange, search tsvector);
insert into parent select i, 'name ' || i,
	'2020-01-01 00:00+00'::timestamptz + i * interval '1 hour',
	jsonb_build_object('i', i, 'mod', i % 10), array[i % 7, i % 11],
	point(i % 100, i / 100), tstzrange('2020-01-01 00:00+00'::timestamptz
		+ i * interval '1 hour', null),
	to_tsvector('english', 'the row numbered ' || i)
	from generate_series(1, 4000) i;
create index on parent using btree (at desc);
create index on parent using hash (name);
create index on parent using gin (data);
create index on parent using gin (tags);
create index on parent using gin (search);
create index on parent using gist (spot);
create index on parent using spgist (spot);
create index on parent using brin (at);
create index concurrently on parent ((data ->> 'mod')) where id % 2 = 0;
set enable_seqscan = off;
select count(*) from parent where data @> '{"mod": 3}';
select count(*) from parent where tags @> array[3, 5];
select count(*) from parent where search @@ 'number & 77';
select count(*) from parent where spot <@ box '((10,10),(20,20))';
select count(*) from parent where at between '2020-02-01' and '2020-03-01';
select id from parent where name = 'name 1234';
reset enable_seqscan;
create table child (parent int references parent on delete cascade, n int);
insert into child select i % 4000 + 1, i from generate_series(1, 8000) i;
insert into child values (99999, 1);
insert into parent (id, name) values (1, 'again');
delete from parent where id <= 100;
select count(*), sum(n) from child;
begin; update child set n = n + 1; savepoint one; delete from child;
select count(*) from child; rollback to one; select sum(n) from child; commit;
begin; truncate child; rollback;
select count(*), sum(n) from child;
create table part (k int, v text) partition by range (k);
create table part_1 partition of part for values from (0) to (500);
create table part_2 partition of part for values from (500) to (1000);
insert into part select i, repeat('x', i) from generate_series(0, 999) i;
insert into part values (1000, 'outside');
alter table part detach partition part_1;
select count(*), sum(length(v)) from part;
create function twice() returns trigger language plpgsql as
	$$ begin new.n := new.n * 2; return new; end $$;
create trigger twice before insert on child for each row execute function twice();
insert into child select 200, i from generate_series(1, 10) i returning n;
create table big (id int, t text, b bytea);
insert into big select i, repeat(md5(i::text), 3000),
	decode(repeat(md5(i::text), 2000), 'hex') from generate_series(1, 30) i;
select sum(length(t)), sum(length(b)), md5(string_agg(t, '' order by id)) from big;
select lo_create(4711); select lo_put(4711, 100000, 'at the end');
select length(lo_get(4711));
create unlogged table fast as select * from parent;
create materialized view sums as select data ->> 'mod' as m, sum(id) from parent
	group by 1;
select * from sums order by 1;
refresh materialized view sums;
create sequence s; select nextval('s') from generate_series(1, 5);
with recursive t (n) as (select 1 union all select n + 1 from t where n < 1000)
	select sum(n) from t;
select id, rank() over (order by id % 13, id) from parent order by 2 limit 5;
set work_mem = '64kB';
select count(distinct md5(a.id::text || b.id)) from parent a, parent b
	where b.id < 104;
reset work_mem;
vacuum full child; cluster parent using parent_pkey; reindex table parent;
vacuum (analyze, freeze); checkpoint;
update parent set name = name || '!' where id % 3 = 0;
select md5(string_agg(p::text, ',' order by id)) from parent p;
begin; insert into child values (300, 1); prepare transaction 'prepared';
select gid from pg_prepared_xacts;
