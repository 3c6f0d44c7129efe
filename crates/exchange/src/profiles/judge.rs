//! Resources against the profiles of an organization: on the way in, and when asked.

use std::sync::Arc;

use holdfast_base::OrganizationId;
use holdfast_fhir::profile::{Profile, Registry, Strictness, check_profiles};
use holdfast_fhir::{Issue, Severity};
use serde_json::{Value, json};

use super::{OnProblem, ProfilePolicy};
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// The label that [`OnProblem::Tag`] puts into `meta.tag`.
const TAG: [&str; 2] = ["urn:holdfast:validation", "profile-problems"];

/// What the profiles say of a resource on its way in.
pub(crate) struct Judged {
    /// What is told the sender; of severity error when the resource is refused.
    pub issues: Vec<Issue>,
    /// Whether it is labelled.
    pub is_tagged: bool,
}

impl Exchange {
    /// What the profiles that a resource claims, and those that the organization always
    /// asks for, say of it.
    pub(crate) fn judge_profiles(&self, organization: &OrganizationId, resource: &Value) -> Judged {
        let policy = self.profile_policy(organization);
        let registry = self.registry_of(organization);
        let report = check_profiles(
            resource,
            &registry,
            &always(&policy, &registry, resource),
            Strictness::Usual,
        );
        let is_bad = report.issues.iter().any(Issue::is_error);
        let is_refused = is_bad && policy.on_problem == OnProblem::Reject;
        // What is stored all the same was no error.
        let told = |issue: Issue| match issue.is_error() && !is_refused {
            true => issue.with_severity(Severity::Warning),
            false => issue,
        };
        let issues = report.issues.into_iter().map(told).collect();
        Judged { issues, is_tagged: is_bad && policy.on_problem == OnProblem::Tag }
    }

    /// Every problem of `resource`, by R4, by the profiles that it claims, by those that
    /// the organization always asks for, and by `named`; nothing is stored or opened.
    ///
    /// # Errors
    /// [`ExchangeError::NoOrganization`]; [`ExchangeError::Setting`] when a named profile
    /// is not loaded.
    pub fn problems_of(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        resource: &Value,
        named: &[&str],
    ) -> Result<Vec<Issue>, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        self.organization(organization)?;
        // What an organization asks of its resources is its own affair.
        if ask.caller.organization() != organization {
            return Err(ExchangeError::NotFound);
        }
        let registry = self.registry_of(organization);
        let policy = self.profile_policy(organization);
        let mut profiles = always(&policy, &registry, resource);
        for url in named {
            let profile = registry.profile(url);
            profiles.push(profile.ok_or(ExchangeError::Setting("the profile is not loaded here"))?);
        }
        let mut issues = holdfast_fhir::validate(resource);
        let report = check_profiles(resource, &registry, &profiles, Strictness::Usual);
        issues.extend(report.issues);
        for url in report.unknown.iter().take(20) {
            // Names of profiles are no data of a record; what is none is not repeated.
            let is_url =
                url.len() <= 200 && url.contains(':') && !url.contains(char::is_whitespace);
            let name = if is_url { url } else { "a profile that it claims" };
            let text = format!("{name} is not loaded here; it was not checked");
            let issue = Issue::error("not-found", "", text);
            issues.push(issue.with_severity(Severity::Warning));
        }
        Ok(issues)
    }
}

/// The profiles that every resource of this type has to meet.
fn always(policy: &ProfilePolicy, registry: &Registry, resource: &Value) -> Vec<Arc<Profile>> {
    let kind = resource["resourceType"].as_str().unwrap_or_default();
    let profiles = policy.always.iter().filter_map(|url| registry.profile(url));
    profiles.filter(|profile| profile.type_name == kind).collect()
}

/// Puts the label on.
pub(crate) fn tag(resource: &mut Value) {
    let Some(fields) = resource.as_object_mut() else { return };
    let meta = fields.entry("meta").or_insert_with(|| json!({}));
    let Some(tags) =
        meta.as_object_mut().map(|meta| meta.entry("tag").or_insert_with(|| json!([])))
    else {
        return;
    };
    let [system, code] = TAG;
    let known = |tag: &Value| tag["system"] == system && tag["code"] == code;
    if let Some(tags) = tags.as_array_mut()
        && !tags.iter().any(known)
    {
        tags.push(json!({ "system": system, "code": code }));
    }
}
