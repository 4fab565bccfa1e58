//! What stands between the service and its data: roles that may do what they need, and sessions that are its own.

mod pooler;
mod roles;
