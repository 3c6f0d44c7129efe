//! Searching (FHIR R4 http.html#search, search.html): by type, over several types, in
//! compartments.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use holdfast_base::OrganizationId;
use holdfast_exchange::{Ask, Disclosed, Handling, Page, SearchScope};
use holdfast_fhir::Issue;
use holdfast_fhir::bundle::{SearchEntry, searchset};
use holdfast_fhir::search::{Query, Total, parse_query};
use serde_json::{Value, json};

use super::negotiate::Wishes;
use super::{answer, id_named, type_named};
use crate::body::{Form, render_pairs};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// The parameter that opens a further page.
const PAGE: &str = "_page";

/// `GET [base]?_type=…&…`.
pub(super) async fn of_types_by_get(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    respond(&state, &ask, &organization, &At::root(&wishes.pairs)?, &wishes).await
}

/// `POST [base]/_search`.
pub(super) async fn of_types_by_post(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    wishes: Wishes,
    headers: HeaderMap,
    Form(form): Form,
) -> Result<Response, Failure> {
    let wishes = Wishes::of(&headers, [wishes.pairs, form].concat())?;
    respond(&state, &ask, &organization, &At::root(&wishes.pairs)?, &wishes).await
}

/// `GET [type]?…`.
pub(super) async fn by_get(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type)): Path<(String, String)>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    respond(&state, &ask, &organization, &At::of_type(&resource_type)?, &wishes).await
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
    respond(&state, &ask, &organization, &At::of_type(&resource_type)?, &wishes).await
}

/// `GET [compartment]/[id]/[type]?…` and `GET [compartment]/[id]/*`.
pub(super) async fn in_compartment_by_get(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, kind, id, rest)): Path<(String, String, String, String)>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    respond(&state, &ask, &organization, &At::compartment(&kind, &id, &rest)?, &wishes).await
}

/// `POST [compartment]/[id]/[type]/_search`.
pub(super) async fn in_compartment_by_post(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, kind, id, rest)): Path<(String, String, String, String)>,
    wishes: Wishes,
    headers: HeaderMap,
    Form(form): Form,
) -> Result<Response, Failure> {
    let rest = rest.strip_suffix("/_search").ok_or_else(Failure::not_found)?;
    let wishes = Wishes::of(&headers, [wishes.pairs, form].concat())?;
    respond(&state, &ask, &organization, &At::compartment(&kind, &id, rest)?, &wishes).await
}

/// What is searched, as the URL says it.
#[derive(Debug)]
struct At {
    scope: SearchScope,
    /// Path below the base.
    path: String,
}

impl At {
    fn root(pairs: &[(String, String)]) -> Result<Self, Failure> {
        let said = pairs.iter().filter(|(name, _)| name == "_type");
        let types: Vec<&str> =
            said.flat_map(|(_, value)| value.split(',')).map(str::trim).collect();
        let unknown = |name: &&&str| holdfast_fhir::type_code(name).is_none();
        let problem = match types.iter().find(unknown) {
            Some(_) => Some("names a resource type that there is not"),
            None if types.is_empty() && !pairs.iter().any(|(name, _)| name == PAGE) => {
                Some("a search over the base needs resource types: _type=Observation,Condition")
            }
            None => None,
        };
        if let Some(problem) = problem {
            return Err(Failure::invalid(vec![Issue::error("value", "_type", problem)]));
        }
        let types = types.into_iter().map(str::to_owned).collect();
        Ok(Self { scope: SearchScope { types, compartment: None }, path: String::new() })
    }

    fn of_type(resource_type: &str) -> Result<Self, Failure> {
        let name = type_named(resource_type)?;
        Ok(Self { scope: SearchScope::of(name), path: format!("/{name}") })
    }

    fn compartment(kind: &str, id: &str, rest: &str) -> Result<Self, Failure> {
        if holdfast_fhir::compartment_types(kind).is_empty() {
            return Err(Failure::not_found());
        }
        let id = id_named(id)?;
        let types = match rest {
            "*" => Vec::new(),
            name => vec![type_named(name)?.to_owned()],
        };
        let path = format!("/{kind}/{id}/{rest}");
        let compartment = Some((kind.to_owned(), id.to_owned()));
        Ok(Self { scope: SearchScope { types, compartment }, path })
    }
}

async fn respond(
    state: &AppState,
    ask: &Ask,
    organization: &str,
    at: &At,
    wishes: &Wishes,
) -> Result<Response, Failure> {
    let organization = organization_named(organization)?;
    let found = find_at(state, ask, &organization, at, &wishes.pairs, wishes.handling).await?;
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &found, wishes))
}

/// Searches resources of one type and makes the Bundle.
pub(super) async fn find(
    state: &AppState,
    ask: &Ask,
    organization: &OrganizationId,
    resource_type: &str,
    pairs: &[(String, String)],
    handling: Handling,
) -> Result<Value, Failure> {
    find_at(state, ask, organization, &At::of_type(resource_type)?, pairs, handling).await
}

async fn find_at(
    state: &AppState,
    ask: &Ask,
    organization: &OrganizationId,
    at: &At,
    pairs: &[(String, String)],
    handling: Handling,
) -> Result<Value, Failure> {
    let base = state.fhir_base(organization);
    let mut pairs = own_references(&base, pairs);
    if at.path.is_empty() {
        // Said by the scope.
        pairs.retain(|(name, _)| name != "_type");
    }
    if pairs.iter().any(|(name, value)| name == "_explain" && value == "true") {
        let steps = state.exchange.explain(ask, organization, &at.scope, &pairs, handling)?;
        return Ok(explanation(&steps));
    }
    let page = state.exchange.search_in(ask, organization, &at.scope, &pairs, handling).await?;
    render(&base, at, &pairs, page)
}

/// References by our own URL name what relative ones do.
fn own_references(base: &str, pairs: &[(String, String)]) -> Vec<(String, String)> {
    let own = format!("{base}/");
    let relative = |value: &String| {
        let parts = value.split(',').map(|part| part.strip_prefix(&own).unwrap_or(part));
        parts.collect::<Vec<_>>().join(",")
    };
    let is_plain = |value: &String| !value.contains('\\') && value.contains(&own);
    let pair = |(name, value): &(String, String)| {
        let value = if is_plain(value) { relative(value) } else { value.clone() };
        (name.clone(), value)
    };
    pairs.iter().map(pair).collect()
}

/// The plan of a search, as Parameters.
fn explanation(steps: &[String]) -> Value {
    let step = |text: &String| json!({ "name": "step", "valueString": text });
    let steps: Vec<Value> = steps.iter().map(step).collect();
    json!({ "resourceType": "Parameters", "parameter": steps })
}

fn render(base: &str, at: &At, pairs: &[(String, String)], page: Page) -> Result<Value, Failure> {
    // What shapes the answer means the same for every type; it was understood before,
    // so this cannot fail.
    let shape: Vec<_> = page
        .used
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "_summary" | "_elements" | "_total" | "_count"))
        .cloned()
        .collect();
    let query = |kind: &str| parse_query(kind, &shape, Handling::Lenient).map_err(Failure::invalid);
    let first = at.scope.types.first().map_or("Basic", String::as_str);
    let query_of_first = query(first)?;
    let entry = |found: Disclosed, is_included: bool| SearchEntry {
        full_url: format!("{base}/{}/{}", found.resource_type, found.id),
        resource: query_of_first.present(found.resource),
        is_included,
    };
    let matches = page.matches.into_iter().map(|found| entry(found, false));
    let included = page.included.into_iter().map(|found| entry(found, true));
    let entries = matches.chain(included).collect();
    let url = |query: &str| match query {
        "" => format!("{base}{}", at.path),
        query => format!("{base}{}?{query}", at.path),
    };
    // Types are part of what a search over the base is, and its pages belong to them.
    let typed = at.scope.types.join(",");
    let typed = at.path.is_empty().then_some(("_type", typed.as_str()));
    let limited = pairs.iter().filter(|(name, _)| name == "_type" && at.scope.types.is_empty());
    let used = limited.chain(&page.used).map(|(name, value)| (name.as_str(), value.as_str()));
    let used = typed.into_iter().chain(used);
    let here = pairs.iter().find(|(name, _)| name == PAGE);
    let here = here.map(|(name, value)| (name.as_str(), value.as_str()));
    let self_link = url(&render_pairs(used.chain(here)));
    let next_url = |token: &str| {
        url(&render_pairs(typed.into_iter().chain([(PAGE, token)]).collect::<Vec<_>>()))
    };
    let next = page.next.as_deref().map(next_url);
    let total = shown_total(&query_of_first, page.total);
    Ok(searchset(&self_link, total, entries, next.as_deref(), &page.issues))
}

/// The total is exact, and left out when nobody wants it (search.html#total).
fn shown_total(query: &Query, total: usize) -> Option<u64> {
    (query.total() != Some(Total::None)).then_some(total as u64)
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
        Page {
            matches: vec![found],
            included: Vec::new(),
            total: 11,
            next: next.map(str::to_owned),
            used,
            issues: Vec::new(),
        }
    }

    #[test]
    fn a_page_is_a_searchset_whose_links_are_absolute() {
        let used = vec![pair("gender", "female")];
        let asked = vec![pair("gender", "female"), pair("_pretty", "true")];
        let bundle = render("https://x/fhir/o", &patients(), &asked, page(Some("t0k"), used))
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
            render("https://x/fhir/o", &patients(), &[], page(None, used)).expect("renders");
        let resource = &bundle["entry"][0]["resource"];
        assert_eq!(resource["gender"], "female");
        assert!(resource.get("photo").is_none());
        assert_eq!(resource["meta"]["tag"][0]["code"], "SUBSETTED");
    }

    fn patients() -> At {
        At::of_type("Patient").expect("a type")
    }

    #[test]
    fn what_goes_along_is_no_match_and_a_total_that_nobody_wants_is_left_out() {
        let mut page = page(None, vec![pair("_total", "none")]);
        page.included = page.matches.clone();
        let bundle = render("https://x/fhir/o", &patients(), &[], page).expect("renders");
        assert_eq!(bundle["entry"][1]["search"]["mode"], "include");
        assert!(bundle.get("total").is_none());
    }

    #[test]
    fn own_urls_are_relative_references() {
        let pairs =
            [pair("subject", "https://x/fhir/o/Patient/1,Patient/2"), pair("url", "https://y/z")];
        let relative = own_references("https://x/fhir/o", &pairs);
        assert_eq!(relative[0].1, "Patient/1,Patient/2");
        assert_eq!(relative[1].1, "https://y/z");
    }

    #[test]
    fn a_search_over_the_base_names_its_types() {
        assert!(At::root(&[]).is_err());
        assert!(At::root(&[pair("_type", "Observation,Pig")]).is_err());
        let at = At::root(&[pair("_type", "Observation,Condition")]).expect("types");
        assert_eq!(at.scope.types, ["Observation", "Condition"]);
        assert!(At::compartment("Observation", "1", "Patient").is_err());
        assert!(At::compartment("Patient", "1", "*").is_ok());
    }
}
