-- Where the first event that names a message stands in its caller's trace (W3C's traceparent), so that the attempt that
-- confirms it, however much later, is seen as a part of the login that it belongs to. Null where nobody traces: then
-- nothing writes here.
alter table parked add column traceparent text;
alter table feedback add column traceparent text;
