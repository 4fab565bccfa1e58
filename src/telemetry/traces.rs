//! Traces: a request continues its caller's, and the attempt that it leads to continues the request's, however much later
//! and in whichever process. Exported by OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` is set; without it there are no spans to
//! export, and what a caller says of its trace is carried along for the log.
//!
//! OpenTelemetry's own variables work: `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_HEADERS`, `…_TIMEOUT`, `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_SDK_DISABLED`.

use std::env;
use std::error::Error;
use std::sync::OnceLock;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::domain::{Class, LaneName, MessageSid, TraceContext};

const NAME: &str = "confirmd";

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

tokio::task_local! {
    static HERE: TraceContext;
}

/// Does some work as a part of a trace, if it is one.
pub async fn within<T>(trace: Option<TraceContext>, work: impl Future<Output = T>) -> T {
    match trace {
        Some(trace) => HERE.scope(trace, work).await,
        None => work.await,
    }
}

/// The trace that this task works for.
pub fn trace_here() -> Option<TraceContext> {
    HERE.try_with(Clone::clone).ok()
}

/// The span of a request, and what it hands on: its own place in the trace if spans are exported, else its caller's.
pub fn request_span(
    request_id: &str,
    method: &'static str,
    route: &str,
    told: Option<TraceContext>,
) -> (Span, Option<TraceContext>) {
    let (caller, trace_id) = (tracing::field::Empty, tracing::field::Empty);
    if PROVIDER.get().is_none() {
        let span = tracing::info_span!("request", request_id, method, route, caller, trace_id);
        if let Some(told) = &told {
            span.record("trace_id", told.trace_id());
        }
        return (span, told);
    }
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        request_id,
        method,
        route,
        caller,
        trace_id
    );
    let trace = place_of(&span, told);
    if let Some(trace) = &trace {
        span.record("trace_id", trace.trace_id());
    }
    (span, trace)
}

/// A request was answered.
pub fn request_ended(span: &Span, status: u16) {
    if PROVIDER.get().is_some() {
        span.record("http.response.status_code", status);
    }
}

/// The span of one request to Twilio, which continues the trace of the event that it confirms. Where spans are not
/// exported, it is there for a log that is asked for this message alone.
pub fn attempt_span(lane: &LaneName, message_sid: &MessageSid, number: u32, trace: Option<&TraceContext>) -> Span {
    if PROVIDER.get().is_none() {
        return tracing::debug_span!("attempt", %lane, %message_sid, number);
    }
    let span = tracing::info_span!(
        "attempt",
        otel.name = "POST Feedback.json",
        otel.kind = "client",
        http.request.method = "POST",
        http.response.status_code = tracing::field::Empty,
        class = tracing::field::Empty,
        trace_id = tracing::field::Empty,
        %lane,
        %message_sid,
        number,
    );
    if let Some(trace) = place_of(&span, trace.cloned()) {
        span.record("trace_id", trace.trace_id());
    }
    span
}

/// A request to Twilio ended.
pub fn attempt_ended(span: &Span, class: Class, status: Option<u16>) {
    span.record("class", class.as_str());
    if let Some(status) = status {
        span.record("http.response.status_code", status);
    }
}

/// Makes a span a part of the trace that was told of; gives the span's own place, or what was told if nobody records it.
fn place_of(span: &Span, told: Option<TraceContext>) -> Option<TraceContext> {
    if let Some(parent) = told.as_ref().and_then(remote) {
        let parent = opentelemetry::Context::new().with_remote_span_context(parent);
        if let Err(error) = span.set_parent(parent) {
            tracing::debug!(%error, "Could not continue a trace");
        }
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    if !own.is_valid() || !own.is_sampled() {
        return told;
    }
    let flags = own.trace_flags().to_u8();
    TraceContext::try_from(format!("00-{}-{}-{flags:02x}", own.trace_id(), own.span_id())).ok()
}

fn remote(trace: &TraceContext) -> Option<SpanContext> {
    let trace_id = TraceId::from_hex(trace.trace_id()).ok()?;
    let span_id = SpanId::from_hex(trace.span_id()).ok()?;
    let flags = if trace.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    Some(SpanContext::new(trace_id, span_id, flags, true, TraceState::default()))
}

/// What spans are given to, if the environment names a collector.
pub(super) fn tracer() -> Result<Option<SdkTracer>, Box<dyn Error + Send + Sync>> {
    let told = |name: &str| env::var(name).is_ok_and(|value| !value.trim().is_empty());
    let endpoint = told("OTEL_EXPORTER_OTLP_ENDPOINT") || told("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let disabled = env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    if !endpoint || disabled {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_http().build()?;
    let mut resource = Resource::builder();
    if !told("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(NAME);
    }
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    Ok(Some(PROVIDER.get_or_init(|| provider).tracer(NAME)))
}

/// Sends what is left to the collector. Blocks until it is there, or the collector has not answered for too long.
pub fn finish_traces() {
    if let Some(Err(error)) = PROVIDER.get().map(SdkTracerProvider::shutdown) {
        tracing::warn!(%error, "Could not send the last spans to the collector");
    }
}
