-- Of the five index entries that an event of the short way cost, one was for questions that hardly anybody asks: which
-- events an action has, or a message. Keys are random, so each entry also changed a page of a large index that nobody
-- else had changed since the last checkpoint, and the page went to the log whole. The message, whose row is written
-- anyway, now names the event by which it was owed; from the message it is found by its key.
alter table message add column first_event_id text; -- the event by which it was owed, if that is marked `at_message`
alter table event add column at_message boolean not null default false; -- named by its message, and in no index but those of its key and its age

drop index event_of_action;
drop index event_of_message;
-- Serves the view of an action, and `all` events whose messages are registered later.
create index event_of_action on event (action_id, namespace) where action_id is not null and not at_message;
-- Serves the story of a message: the events that named it themselves.
create index event_of_message on event ((message_sids[1])) where resolve = 'exact' and not at_message;

-- The events that named an action. One home for the question, so that nobody forgets those that stand at their messages.
create function events_of_action(of_namespace text, of_action text) returns setof event
    language sql stable
    as $$
        select event.*
        from event
        where event.namespace = of_namespace and event.action_id = of_action and event.action_id is not null
          and not event.at_message
        union all
        select event.*
        from message join event on event.event_id = message.first_event_id and event.namespace = message.namespace
        where message.namespace = of_namespace and message.action_id = of_action and message.action_id is not null
          and event.action_id = of_action and event.at_message
    $$;

-- The events that named a message themselves.
create function events_of_message(sid text) returns setof event
    language sql stable
    as $$
        select event.*
        from event
        where event.resolve = 'exact' and event.message_sids[1] = sid and not event.at_message
        union all
        select event.*
        from message join event on event.event_id = message.first_event_id and event.namespace = message.namespace
        where message.message_sid = sid and event.resolve = 'exact' and event.at_message
    $$;
