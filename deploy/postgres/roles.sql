-- The three roles of confirmd. Run it once as an administrator, in confirmd's own database, before the first migration:
--
--   createdb --template template0 --encoding UTF8 --locale C confirmd
--   psql --dbname confirmd --file deploy/postgres/roles.sql
--   psql --dbname confirmd --command '\password confirmd_migrate'      and so for confirmd_app and confirmd_read
--
-- Safe to run again. What the roles may do to each table stands in privileges.sql, which `confirmd migrate` applies each
-- time, so that a new table is never forgotten.
--
--   confirmd_migrate   owns the schema; for `confirmd migrate`, and for nothing that runs all day
--   confirmd_app       the service, and the commands that change something: just the statements that they need
--   confirmd_read      reads; for people and reports

do $$
declare
    wanted text;
begin
    foreach wanted in array array['confirmd_migrate', 'confirmd_app', 'confirmd_read'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            execute format('create role %I login nosuperuser nocreatedb nocreaterole noreplication', wanted);
        end if;
    end loop;
    -- Nobody else enters this database, and nobody makes temporary tables in it.
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect on database %I to confirmd_migrate, confirmd_app, confirmd_read', current_database());
end
$$;

revoke all on schema public from public;
grant usage, create on schema public to confirmd_migrate;
grant usage on schema public to confirmd_app, confirmd_read;

-- For the function oldest_snapshot(), which runs with its owner's rights: without this the alert on old transactions sees
-- only those of confirmd_migrate itself. The service cannot see what others ask Postgres, only for how long.
grant pg_read_all_stats to confirmd_migrate;
