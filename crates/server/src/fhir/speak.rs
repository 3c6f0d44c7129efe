//! The form of every answer of the FHIR API: JSON or XML, compressed or not.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use holdfast_exchange::ExchangeError;
use holdfast_fhir::xml::to_xml;
use serde_json::Value;

use super::answer::{self, LaidOut};
use super::negotiate::{Format, Layout};
use crate::body::parse_pairs;
use crate::caller::RequestContext;
use crate::error::{Failure, render};
use crate::gzip;

/// Marks a request of the FHIR API: its body may be XML.
#[derive(Clone, Copy)]
pub(crate) struct OfFhir;

/// Layer: failures become OperationOutcomes; what a handler answers in JSON becomes XML
/// when that is asked for; long answers are compressed for whoever takes it.
pub(crate) async fn speak(context: RequestContext, mut request: Request, next: Next) -> Response {
    let pairs = parse_pairs(request.uri().query().unwrap_or_default().as_bytes());
    let asked = Layout::asked(request.headers(), &pairs.unwrap_or_default());
    // Whether a request that asks for something else is refused is for its handler.
    let layout = asked.unwrap_or_default();
    let compress = gzip::is_accepted(request.headers());
    let head_only = request.method() == Method::HEAD;
    request.extensions_mut().insert(OfFhir);

    let response = next.run(request).await;
    let response =
        render(response, |failure| answer::written(&failure.outcome(context.request), layout));
    let mut response =
        if head_only { response } else { in_format(response, layout, &context).await };
    let vary = HeaderValue::from_static("Accept, Accept-Encoding");
    response.headers_mut().entry(header::VARY).or_insert(vary);
    match (compress, head_only) {
        (false, _) => response,
        (true, false) => gzip::compressed(response),
        (true, true) => {
            // Its length would be that of what is not compressed.
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response
        }
    }
}

/// An answer in FHIR's JSON as XML, when that is what is asked for.
async fn in_format(response: Response, layout: Layout, context: &RequestContext) -> Response {
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media_type| media_type.as_bytes().starts_with(b"application/fhir+json"));
    let is_laid_out = response.extensions().get::<LaidOut>().is_some();
    if layout.format == Format::Json || !is_json || is_laid_out {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let read = axum::body::to_bytes(body, usize::MAX).await.ok();
    let resource = read.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(resource) = resource else {
        let fault = Failure::from(ExchangeError::Internal("an answer of ours is no JSON"));
        let outcome = fault.outcome(context.request);
        return render(axum::response::IntoResponse::into_response(fault), |_| {
            answer::written(&outcome, layout)
        });
    };
    let media_type = HeaderValue::from_static(layout.format.media_type());
    parts.headers.insert(header::CONTENT_TYPE, media_type);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(to_xml(&resource, layout.pretty)))
}
