//! What callers and operators see over HTTP: every route, its statuses and its JSON, field by field.

mod access; // tokens, scopes, namespaces, and what is no request at all
mod at_once; // many callers, and more than can be taken
mod batches; // POST /v1/events/batch
mod dead_letters; // GET /v1/dead-letters, POST /v1/dead-letters/replay
mod events; // POST /v1/events
mod lanes; // GET /v1/lanes, pause, resume
mod messages; // POST and GET /v1/messages
mod metrics; // GET /metrics
mod probes; // /livez, /readyz, /openapi.json, /docs
mod receipts; // GET /v1/events, GET /v1/actions

use serde_json::{Value, json};

use crate::harness::service::Service;
use crate::harness::world::{Setting, World, sid};

/// A world, and its interface.
async fn served() -> (World, Service) {
    served_with(Setting::default()).await
}

async fn served_with(setting: Setting) -> (World, Service) {
    let world = World::with(setting).await;
    let service = Service::of(&world).await;
    (world, service)
}

/// The mapping of an action to the message with this number.
fn mapping(action_id: &str, number: u32) -> Value {
    json!({"action_id": action_id, "message_sid": sid(number)})
}

/// The event that completes an action.
fn completed(event_id: &str, action_id: &str) -> Value {
    json!({"event_id": event_id, "action_id": action_id})
}

/// `2026-11-23T12:00:00Z`, when every story begins, as it is told.
const NOON: &str = "2026-11-23T12:00:00Z";
