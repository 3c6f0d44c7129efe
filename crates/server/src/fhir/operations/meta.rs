//! `$meta`, `$meta-add`, `$meta-delete` (FHIR R4 resource-operations.html) and
//! `$diff` between versions, as a FHIRPath Patch.
//!
//! DEVIATION: labels are part of a version here, so adding one makes a new version
//! (the ledger and the history tell who did it); a call that changes nothing makes none.

use holdfast_exchange::Disclosed;
use holdfast_fhir::operations::{Declared, Kind, changed_meta, diff, meta_answer};
use holdfast_fhir::{Issue, parse_reference};
use serde_json::{Value, json};

use super::{Call, Level, Operation};
use crate::error::Failure;
use crate::fhir::write::{Write, written_of};
use crate::fhir::{answer, writable_type_named};

/// `[type]/[id]/$meta`; above an instance it is refused with the reason.
pub(super) const META: Operation = Operation {
    name: "meta",
    levels: &[Level::System, Level::Type, Level::Instance],
    types: &[],
    affects_state: false,
    parameters: &[],
    alone: None,
};

/// `[type]/[id]/$meta-add`.
pub(super) const META_ADD: Operation = Operation {
    name: "meta-add",
    levels: &[Level::Instance],
    types: &[],
    affects_state: true,
    parameters: &[Declared::new("meta", Kind::Complex).required()],
    alone: None,
};

/// `[type]/[id]/$meta-delete`.
pub(super) const META_DELETE: Operation = Operation { name: "meta-delete", ..META_ADD };

/// `[type]/[id]/$diff`, and `$diff` of two versions that are named.
pub(super) const DIFF: Operation = Operation {
    name: "diff",
    levels: &[Level::Instance],
    types: &[],
    affects_state: false,
    parameters: &[
        Declared::new("fromVersion", Kind::Count),
        Declared::new("toVersion", Kind::Count),
        Declared::new("includeMeta", Kind::Boolean),
    ],
    alone: None,
};

/// `$diff?from=…&to=…`.
pub(super) const DIFF_NAMED: Operation = Operation {
    levels: &[Level::System],
    parameters: &[
        Declared::new("from", Kind::Text).required(),
        Declared::new("to", Kind::Text).required(),
        Declared::new("includeMeta", Kind::Boolean),
    ],
    ..DIFF
};

async fn read(
    call: &Call<'_>,
    kind: &str,
    id: &str,
    version: Option<u64>,
) -> Result<Disclosed, Failure> {
    Ok(call.state.exchange.read(call.ask, call.organization, kind, id, version).await?)
}

pub(super) async fn meta(call: &Call<'_>) -> Result<Value, Failure> {
    if call.id.is_empty() {
        // The labels in use would tell of records that the caller may not see.
        let text = "labels are told of one resource at a time: [type]/[id]/$meta";
        return Err(Failure::unsupported(text));
    }
    let found = read(call, call.resource_type, call.id, None).await?;
    Ok(meta_answer(&found.resource["meta"]))
}

pub(super) async fn change(call: &Call<'_>, add: bool) -> Result<Value, Failure> {
    let (kind, id) = (writable_type_named(call.resource_type)?, call.id);
    let given = call.arguments.json("meta").unwrap_or(&Value::Null);
    let found = read(call, kind, id, None).await?;
    let meta = changed_meta(&found.resource, given, add).map_err(Failure::invalid)?;
    if meta == found.resource["meta"] {
        return Ok(meta_answer(&meta));
    }
    let mut resource = found.resource;
    resource["meta"] = meta.clone();
    let write = Write {
        organization: call.organization.clone(),
        request: json!({
            "method": "PUT", "url": format!("{kind}/{id}"), "ifMatch": answer::etag(found.version),
        }),
        resource,
    };
    let admission = write.admit(call.state, call.ask).await?;
    let Some(written) = written_of(&admission)? else {
        return Err(holdfast_exchange::ExchangeError::KeeperAway.into());
    };
    let mut meta = meta;
    meta["versionId"] = json!(written.version.to_string());
    meta["lastUpdated"] = json!(written.last_updated.to_string());
    Ok(meta_answer(&meta))
}

pub(super) async fn difference(call: &Call<'_>) -> Result<Value, Failure> {
    let with_meta = call.arguments.boolean("includeMeta").unwrap_or(false);
    let (from, to) = if call.id.is_empty() { named(call).await? } else { of_one(call).await? };
    if from.resource_type != to.resource_type {
        let text = "both have to be of one type";
        return Err(Failure::invalid(vec![Issue::error("invalid", "to", text)]));
    }
    Ok(diff(&from.resource, &to.resource, with_meta))
}

/// From the version before the current one, unless the call says otherwise.
async fn of_one(call: &Call<'_>) -> Result<(Disclosed, Disclosed), Failure> {
    let version = |name| call.arguments.count(name).and_then(|count| u64::try_from(count).ok());
    let to = read(call, call.resource_type, call.id, version("toVersion")).await?;
    let from = match version("fromVersion") {
        Some(version) => version,
        None => to.version.checked_sub(1).filter(|version| *version > 0).ok_or_else(|| {
            let text = "there is no version before this one";
            Failure::invalid(vec![Issue::error("not-found", "fromVersion", text)])
        })?,
    };
    Ok((read(call, call.resource_type, call.id, Some(from)).await?, to))
}

async fn named(call: &Call<'_>) -> Result<(Disclosed, Disclosed), Failure> {
    let one = async |name: &'static str| {
        let text = call.arguments.text(name).unwrap_or_default();
        let wrong = || {
            let text = "has to be Type/id or Type/id/_history/version";
            Failure::invalid(vec![Issue::error("value", name, text)])
        };
        let parts = parse_reference(text).filter(|p| p.base.is_empty()).ok_or_else(wrong)?;
        let version = parts.version.map(str::parse::<u64>).transpose().map_err(|_| wrong())?;
        read(call, parts.resource_type, parts.id, version).await
    };
    Ok((one("from").await?, one("to").await?))
}
