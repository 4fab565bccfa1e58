-- What the roles of roles.sql may do to each table. `confirmd migrate` runs this after the migrations, where the roles are
-- there; it is compiled in.
--
-- `update` of one column that nobody changes is there to lock a row: `for update` needs it.

-- One at a time: two grants of the same thing at once fail.
lock table _sqlx_migrations in share row exclusive mode;

grant select on
    _sqlx_migrations, account_lane, action, attempt, attempt_on_record, confirmation, dead_letter, dead_letter_tally, event,
    expired, feedback, lane_report, message, operation, parked, resolution
    to confirmd_app, confirmd_read;

grant insert on
    account_lane, action, attempt, confirmation, dead_letter, dead_letter_tally, event, expired, feedback, lane_report,
    message, operation, parked, resolution
    to confirmd_app;

-- Retention, and what moves from table to table. What replicas agree on about a lane is never deleted.
grant delete on
    action, attempt, confirmation, dead_letter, dead_letter_tally, event, expired, feedback, lane_report, message, operation,
    parked, resolution
    to confirmd_app;

-- What changes in place. History does not: an event, an attempt, a confirmation stand as they were written.
grant update on account_lane, feedback, lane_report, message to confirmd_app;
grant update (first_seen_at) on action to confirmd_app;
grant update (died_at) on dead_letter to confirmd_app;
grant update (tally_id) on dead_letter_tally to confirmd_app;
grant update (accepted_at) on event to confirmd_app;
grant update (expired_at) on expired to confirmd_app;
grant update (done_at) on operation to confirmd_app;
grant update (traceparent) on parked to confirmd_app;

revoke execute on function
    events_of_action(text, text), events_of_message(text), feedback_state(text, timestamptz), oldest_snapshot(),
    resolve(text, text, text, timestamptz)
    from public;
grant execute on function
    events_of_action(text, text), events_of_message(text), feedback_state(text, timestamptz), oldest_snapshot(),
    resolve(text, text, text, timestamptz)
    to confirmd_app, confirmd_read;
-- Whoever may write to a table fires its triggers; nobody needs to call their functions.
revoke execute on function tally_dead_letters(), tally_expired() from public;
