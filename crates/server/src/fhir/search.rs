//! Searching (FHIR R4 http.html#search, search.html).

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use holdfast_base::OrganizationId;
use holdfast_exchange::{Ask, Handling, Page};
use holdfast_fhir::Issue;
use holdfast_fhir::bundle::{SearchEntry, searchset};
use holdfast_fhir::search::parse_query;
use serde_json::Value;

use super::negotiate::Wishes;
use super::{answer, type_named};
use crate::body::{Form, render_pairs};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// The parameter that opens a further page.
const PAGE: &str = "_page";

/// `GET [type]?…`.
pub(super) async fn by_get(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type)): Path<(String, String)>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    respond(&state, &ask, &organization, &resource_type, &wishes).await
}

/// `POST [type]/_search`: the same, with the parameters out of everybody's logs.
pub(super) async fn by_post(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type)): Path<(String, String)>,
    wishes: Wishes,
    headers: HeaderMap,
    Form(form): Form,
) -> Result<Response, Failure> {
    // Parameters of URL and body count together (search.html#Introduction).
    let wishes = Wishes::of(&headers, [wishes.pairs, form].concat())?;
    respond(&state, &ask, &organization, &resource_type, &wishes).await
}

async fn respond(
    state: &AppState,
    ask: &Ask,
    organization: &str,
    resource_type: &str,
    wishes: &Wishes,
) -> Result<Response, Failure> {
    let organization = organization_named(organization)?;
    let found =
        find(state, ask, &organization, resource_type, &wishes.pairs, wishes.handling).await?;
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &found, wishes))
}

/// Searches and makes the Bundle.
pub(super) async fn find(
    state: &AppState,
    ask: &Ask,
    organization: &OrganizationId,
    resource_type: &str,
    pairs: &[(String, String)],
    handling: Handling,
) -> Result<Value, Failure> {
    let resource_type = type_named(resource_type)?;
    let page = state.exchange.search(ask, organization, resource_type, pairs, handling).await?;
    let left_out = left_out(resource_type, pairs, handling);
    render(&state.fhir_base(organization), resource_type, pairs, page, &left_out)
}

/// What a lenient search did not use.
fn left_out(resource_type: &str, pairs: &[(String, String)], handling: Handling) -> Vec<Issue> {
    if handling == Handling::Strict || pairs.iter().any(|(name, _)| name == PAGE) {
        return Vec::new();
    }
    parse_query(resource_type, pairs, handling)
        .map(|query| query.issues().to_vec())
        .unwrap_or_default()
}

fn render(
    base: &str,
    resource_type: &str,
    pairs: &[(String, String)],
    page: Page,
    left_out: &[Issue],
) -> Result<Value, Failure> {
    // The parameters that were used were understood before, so this cannot fail.
    let query =
        parse_query(resource_type, &page.used, Handling::Lenient).map_err(Failure::invalid)?;
    let entries = page
        .matches
        .into_iter()
        .map(|found| SearchEntry {
            full_url: format!("{base}/{}/{}", found.resource_type, found.id),
            resource: query.present(found.resource),
        })
        .collect();
    let url = |query: &str| match query {
        "" => format!("{base}/{resource_type}"),
        query => format!("{base}/{resource_type}?{query}"),
    };
    let used = page.used.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let here = pairs.iter().find(|(name, _)| name == PAGE);
    let here = here.map(|(name, value)| (name.as_str(), value.as_str()));
    let self_link = url(&render_pairs(used.chain(here)));
    let next = page.next.as_deref().map(|token| url(&render_pairs([(PAGE, token)])));
    Ok(searchset(&self_link, Some(page.total as u64), entries, next.as_deref(), left_out))
}

#[cfg(test)]
mod tests {
    use holdfast_base::{ClassSet, Timestamp};
    use holdfast_exchange::Disclosed;
    use serde_json::json;

    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn page(next: Option<&str>, used: Vec<(String, String)>) -> Page {
        let found = Disclosed {
            resource: json!({ "resourceType": "Patient", "id": "p1", "gender": "female", "photo": [{}] }),
            resource_type: "Patient".into(),
            id: "p1".into(),
            version: 1,
            last_updated: Timestamp::from_millis(0),
            classes: ClassSet::EMPTY,
        };
        Page { matches: vec![found], total: 11, next: next.map(str::to_owned), used }
    }

    #[test]
    fn a_page_is_a_searchset_whose_links_are_absolute() {
        let used = vec![pair("gender", "female")];
        let asked = vec![pair("gender", "female"), pair("_pretty", "true")];
        let bundle = render("https://x/fhir/o", "Patient", &asked, page(Some("t0k"), used), &[])
            .expect("renders");
        assert_eq!(bundle["type"], "searchset");
        assert_eq!(bundle["total"], 11);
        assert_eq!(
            bundle["link"],
            json!([
                { "relation": "self", "url": "https://x/fhir/o/Patient?gender=female" },
                { "relation": "next", "url": "https://x/fhir/o/Patient?_page=t0k" },
            ])
        );
        assert_eq!(bundle["entry"][0]["fullUrl"], "https://x/fhir/o/Patient/p1");
        assert_eq!(bundle["entry"][0]["search"]["mode"], "match");
    }

    #[test]
    fn elements_that_were_not_asked_for_are_left_out() {
        let used = vec![pair("_elements", "gender")];
        let bundle =
            render("https://x/fhir/o", "Patient", &[], page(None, used), &[]).expect("renders");
        let resource = &bundle["entry"][0]["resource"];
        assert_eq!(resource["gender"], "female");
        assert!(resource.get("photo").is_none());
        assert_eq!(resource["meta"]["tag"][0]["code"], "SUBSETTED");
    }

    #[test]
    fn only_a_lenient_search_says_what_it_left_out() {
        let asked = [pair("colour", "blue")];
        assert_eq!(left_out("Patient", &asked, Handling::Lenient).len(), 1);
        assert_eq!(left_out("Patient", &asked, Handling::Strict), []);
    }
}
