//! `$process-message` (FHIR R4 messageheader-operation-process-message.html): a message
//! is handed to intake like one that came any other way; `$convert`; `$versions`.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use holdfast_base::RequestId;
use holdfast_exchange::{Admission, Format, Outcome};
use holdfast_fhir::operations::{Declared, Kind};
use holdfast_fhir::{Issue, Severity, operation_outcome};
use serde_json::{Value, json};

use super::{Call, Level, Operation};
use crate::admission::issues;
use crate::error::Failure;
use crate::fhir::answer;
use crate::fhir::negotiate::Wishes;
use crate::state::{AppState, organization_named};

/// `$process-message`.
pub(super) const PROCESS_MESSAGE: Operation = Operation {
    name: "process-message",
    levels: &[Level::System],
    types: &[],
    affects_state: true,
    parameters: &[
        Declared::new("content", Kind::Resource).required(),
        Declared::new("async", Kind::Boolean),
        Declared::new("response-url", Kind::Text),
    ],
    alone: Some("content"),
};

/// `$convert`: the resource that was sent, in the format that was asked for.
pub(super) const CONVERT: Operation = Operation {
    name: "convert",
    levels: &[Level::System],
    types: &[],
    affects_state: false,
    parameters: &[Declared::new("input", Kind::Resource).required()],
    alone: Some("input"),
};

/// Media types of HL7 v2 in a Binary, without parameters.
const V2_TYPES: [&str; 3] = ["x-application/hl7-v2+er7", "application/hl7-v2", "text/hl7v2"];

pub(super) fn convert(call: &Call<'_>) -> Result<Value, Failure> {
    call.arguments.json("input").cloned().ok_or_else(Failure::not_found)
}

pub(super) async fn process(call: &Call<'_>) -> Result<Value, Failure> {
    for name in ["async", "response-url"] {
        if call.arguments.boolean(name) == Some(true) || call.arguments.text(name).is_some() {
            let text = "messages are answered at once: leave async and response-url out";
            return Err(Failure::invalid(vec![Issue::error("not-supported", name, text)])
                .with_status(StatusCode::NOT_IMPLEMENTED));
        }
    }
    let content = call.arguments.json("content").unwrap_or(&Value::Null);
    let (format, payload) = payload_of(content).map_err(|issue| Failure::invalid(vec![issue]))?;
    let admission =
        call.state.exchange.admit(call.ask, call.organization, format, &payload).await?;
    Ok(response(&call.base(), call.state.clock.now().to_string(), content, &admission))
}

/// What intake is given: the message itself, or the HL7 v2 message that a Binary holds.
fn payload_of(content: &Value) -> Result<(Format, Vec<u8>), Issue> {
    let wrong = |place: &str, text: &str| Issue::error("invalid", place, text);
    match content["resourceType"].as_str() {
        Some("Bundle") => {
            if content["type"] != "message" {
                return Err(wrong("Bundle.type", "has to be message"));
            }
            // bdl-12: a message has a MessageHeader as its first resource.
            if content["entry"][0]["resource"]["resourceType"] != "MessageHeader" {
                return Err(wrong("Bundle.entry[0].resource", "has to be a MessageHeader"));
            }
            let bytes = serde_json::to_vec(content);
            Ok((Format::Fhir, bytes.map_err(|_| wrong("Bundle", "is no document"))?))
        }
        Some("Binary") => {
            let kind = content["contentType"].as_str().unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            if !V2_TYPES.contains(&kind.as_str()) {
                let text = "has to be HL7 v2: x-application/hl7-v2+er7";
                return Err(wrong("Binary.contentType", text));
            }
            let data = content["data"].as_str().unwrap_or_default();
            let decoded = base64::engine::general_purpose::STANDARD.decode(data);
            Ok((Format::Hl7v2, decoded.map_err(|_| wrong("Binary.data", "has to be base64"))?))
        }
        _ => Err(wrong("content", "has to be a Bundle of type message, or a Binary with HL7 v2")),
    }
}

/// The response message (messaging.html#response): its header says what became of the
/// request, its OperationOutcome why.
fn response(base: &str, now: String, content: &Value, admission: &Admission) -> Value {
    let header = &content["entry"][0]["resource"];
    let code = match &admission.outcome {
        Outcome::Accepted | Outcome::Duplicate | Outcome::Queued => "ok",
        Outcome::Refused(_) => "fatal-error",
    };
    let mut told = issues(admission);
    match &admission.outcome {
        Outcome::Refused(reason) if !told.iter().any(Issue::is_error) => {
            told.push(Issue::error("processing", "", reason.clone()));
        }
        Outcome::Queued => {
            let text = "kept; it will be applied as soon as the keeper answers again";
            let queued = Issue::error("informational", "", text);
            told.push(queued.with_severity(Severity::Information));
        }
        _ => {}
    }
    let (id, details) = (uuid(), uuid());
    let event = ["eventCoding", "eventUri"].into_iter().find(|name| !header[*name].is_null());
    let identifier = header["id"].as_str().map(str::to_owned);
    let identifier = identifier
        .or_else(|| admission.control_id.clone().filter(|id| holdfast_fhir::is_id(id)))
        .unwrap_or_else(|| admission.message.to_string());
    let mut answer = json!({ "resourceType": "MessageHeader", "id": id });
    match event {
        Some(name) => answer[name] = header[name].clone(),
        None => answer["eventUri"] = json!("urn:holdfast:event:hl7v2-acknowledgement"),
    }
    if let Some(endpoint) = header["source"]["endpoint"].as_str() {
        answer["destination"] = json!([{ "endpoint": endpoint }]);
    }
    answer["source"] = json!({ "endpoint": base });
    answer["response"] = json!({
        "identifier": identifier, "code": code, "details": { "reference": format!("urn:uuid:{details}") },
    });
    let mut outcome = operation_outcome(&told);
    outcome["id"] = json!(details);
    json!({
        "resourceType": "Bundle",
        "type": "message",
        "timestamp": now,
        "entry": [
            { "fullUrl": format!("urn:uuid:{id}"), "resource": answer },
            { "fullUrl": format!("urn:uuid:{details}"), "resource": outcome },
        ],
    })
}

/// A random UUID (RFC 9562 version 4).
fn uuid() -> String {
    let hex: String =
        RequestId::random().to_string().chars().filter(char::is_ascii_hexdigit).collect();
    let hex = format!("{hex:0<32}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_ascii_lowercase();
    format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// `$versions` (FHIR R4 capabilitystatement-operation-versions.html): open to everybody,
/// like the metadata.
pub(super) async fn versions(
    State(_): State<AppState>,
    Path(organization): Path<String>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    organization_named(&organization)?;
    let versions = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "version", "valueCode": "4.0" },
        { "name": "default", "valueCode": "4.0" },
    ]});
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &versions, &wishes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::tests::admission;

    #[test]
    fn a_response_is_a_valid_message_that_says_what_became_of_the_request() {
        let request = json!({ "resourceType": "Bundle", "type": "message", "entry": [{ "resource": {
            "resourceType": "MessageHeader", "id": "m1", "eventUri": "urn:x:event",
            "source": { "endpoint": "https://lab.example" } } }] });
        for (outcome, code) in [
            (Outcome::Accepted, "ok"),
            (Outcome::Queued, "ok"),
            (Outcome::Refused("no patient".into()), "fatal-error"),
        ] {
            let now = "2026-01-01T00:00:00.000Z".to_owned();
            let answer = response("https://x.example", now, &request, &admission(outcome));
            assert_eq!(holdfast_fhir::validate(&answer), [], "{answer}");
            let header = &answer["entry"][0]["resource"];
            assert_eq!(header["response"]["identifier"], "m1");
            assert_eq!(header["response"]["code"], code);
            assert_eq!(header["destination"][0]["endpoint"], "https://lab.example");
            assert_eq!(answer["entry"][1]["fullUrl"], header["response"]["details"]["reference"]);
        }
    }

    #[test]
    fn only_messages_are_handed_on() {
        let place = |content: Value| payload_of(&content).map_err(|issue| issue.expression).err();
        let at = |text: &str| Some(text.to_owned());
        assert_eq!(place(json!({ "resourceType": "Bundle", "type": "batch" })), at("Bundle.type"));
        let empty = json!({ "resourceType": "Bundle", "type": "message" });
        assert_eq!(place(empty), at("Bundle.entry[0].resource"));
        let binary = |kind: &str, data: &str| json!({ "resourceType": "Binary", "contentType": kind, "data": data });
        assert_eq!(place(binary("text/plain", "TVNI")), at("Binary.contentType"));
        assert_eq!(place(binary(V2_TYPES[0], "?")), at("Binary.data"));
        assert_eq!(place(json!({ "resourceType": "Patient" })), at("content"));
        let message = payload_of(&binary("x-application/hl7-v2+er7; charset=utf-8", "TVNI"));
        assert_eq!(message, Ok((Format::Hl7v2, b"MSH".to_vec())));
    }
}
