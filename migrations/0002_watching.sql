-- What an operator watches that only the server knows.

-- The oldest transaction that keeps vacuum from tidying up, whosever it is: an idle session in another service slows our
-- queue down all the same. It runs with its owner's rights (see `deploy/postgres/roles.sql`), so that the service itself
-- need not be able to read what others ask Postgres; without them, it sees the sessions of its owner alone.
--
-- plpgsql, which looks its names up when it is called: a server that lacks one of these views is still migrated.
create function oldest_snapshot(out age_seconds float8, out age_transactions bigint)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
    as $$
    begin
        select coalesce(extract(epoch from clock_timestamp() - min(held.since)), 0), coalesce(max(age(held.xmin)), 0)
        into age_seconds, age_transactions
        from (
            select xact_start as since, coalesce(backend_xmin, backend_xid) as xmin
            from pg_stat_activity
            where coalesce(backend_xmin, backend_xid) is not null and pid <> pg_backend_pid()
            union all
            select prepared, transaction from pg_prepared_xacts
            union all
            select null, held_by_slot from pg_replication_slots, unnest(array[xmin, catalog_xmin]) as held_by_slot
            where held_by_slot is not null
        ) as held;
    end
    $$;
