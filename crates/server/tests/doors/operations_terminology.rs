//! The terminology operations (FHIR R4 terminology-service.html).

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Doors;

const ROLE: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
const GENDER: &str = "http://hl7.org/fhir/ValueSet/administrative-gender";

struct Terms {
    doors: Doors,
    token: String,
    base: String,
}

impl Terms {
    async fn open() -> Self {
        let doors = Doors::open().await;
        let (token, base, _) = doors.clinician().await;
        Self { doors, token, base }
    }

    async fn get(&self, url: &str) -> (StatusCode, Value) {
        let answer = self.doors.get(&self.token, &format!("{}/{url}", self.base)).await;
        let resource = answer.json();
        assert_eq!(holdfast_fhir::validate(&resource), [], "{url}: {resource}");
        (answer.status, resource)
    }

    async fn post(&self, url: &str, parameters: &[Value]) -> (StatusCode, Value) {
        let body = json!({ "resourceType": "Parameters", "parameter": parameters });
        let url = format!("{}/{url}", self.base);
        let answer = self.doors.ask(&self.token, Method::POST, &url, &[], Some(&body)).await;
        (answer.status, answer.json())
    }
}

/// The value of an output parameter.
fn out(parameters: &Value, name: &str) -> Value {
    let list = parameters["parameter"].as_array().unwrap();
    let found = list.iter().find(|one| one["name"] == name);
    let fields = found.and_then(Value::as_object).into_iter().flatten();
    let mut value = fields.filter(|(name, _)| name.starts_with("value")).map(|(_, value)| value);
    value.next().cloned().unwrap_or_default()
}

fn codes(value_set: &Value) -> Vec<&str> {
    let contains = value_set["expansion"]["contains"].as_array();
    contains.into_iter().flatten().map(|one| one["code"].as_str().unwrap()).collect()
}

fn colours() -> Value {
    json!({ "resourceType": "CodeSystem", "url": "http://colours.example", "status": "active",
        "content": "complete", "caseSensitive": true, "concept": [
            { "code": "red", "display": "Red",
              "designation": [{ "language": "de", "value": "Rot" }],
              "concept": [{ "code": "crimson", "display": "Deep crimson" }] },
            { "code": "puce", "property": [{ "code": "status", "valueCode": "retired" }] }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_systems_look_up_validate_and_subsume() {
    let terms = Terms::open().await;
    // codesystem-operation-lookup.html
    let (status, told) = terms.get(&format!("CodeSystem/$lookup?system={ROLE}&code=MTH")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(out(&told, "display"), "mother");
    assert!(told.to_string().contains("PRN"), "its parent is told: {told}");
    let (_, one) =
        terms.get(&format!("CodeSystem/$lookup?system={ROLE}&code=MTH&property=parent")).await;
    assert!(!one.to_string().contains("inactive"), "{one}");
    for (query, status, place) in [
        (format!("$lookup?system={ROLE}&code=nothing"), StatusCode::NOT_FOUND, "code"),
        ("$lookup?system=http://snomed.info/sct&code=1".into(), StatusCode::NOT_FOUND, "system"),
        (format!("$lookup?system={ROLE}"), StatusCode::BAD_REQUEST, "code"),
        (format!("$lookup?system={ROLE}&code=MTH&date=2015"), StatusCode::BAD_REQUEST, "date"),
        (format!("$lookup?system={ROLE}&code=MTH&version=x"), StatusCode::NOT_FOUND, "version"),
        ("$closure?name=x".into(), StatusCode::NOT_IMPLEMENTED, ""),
    ] {
        let (told, outcome) = terms.get(&format!("CodeSystem/{query}")).await;
        assert_eq!(told, status, "{query}: {outcome}");
        if !place.is_empty() {
            assert_eq!(outcome["issue"][0]["expression"][0], place, "{query}");
        }
    }
    // codesystem-operation-validate-code.html
    let valid = async |query: &str| {
        let (status, told) =
            terms.get(&format!("CodeSystem/$validate-code?url={ROLE}&{query}")).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        out(&told, "result")
    };
    assert_eq!(valid("code=MTH").await, true);
    assert_eq!(valid("code=MTH&display=Mother").await, true);
    assert_eq!(valid("code=MTH&display=father").await, false);
    assert_eq!(valid("code=nothing").await, false);
    // codesystem-operation-subsumes.html
    for (a, b, outcome) in [
        ("FAMMEMB", "MTH", "subsumes"),
        ("MTH", "FAMMEMB", "subsumed-by"),
        ("MTH", "MTH", "equivalent"),
        ("MTH", "FTH", "not-subsumed"),
    ] {
        let url = format!("CodeSystem/$subsumes?system={ROLE}&codeA={a}&codeB={b}");
        assert_eq!(out(&terms.get(&url).await.1, "outcome"), outcome, "{a} {b}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn value_sets_expand_page_filter_and_validate() {
    let terms = Terms::open().await;
    // valueset-operation-expand.html
    let (status, gender) = terms.get(&format!("ValueSet/$expand?url={GENDER}")).await;
    assert_eq!(status, StatusCode::OK, "{gender}");
    assert_eq!(codes(&gender), ["male", "female", "other", "unknown"]);
    assert_eq!(gender["expansion"]["contains"][0]["display"], "Male");
    let page = terms.get(&format!("ValueSet/$expand?url={GENDER}&offset=1&count=2")).await.1;
    assert_eq!((codes(&page), &page["expansion"]["total"]), (vec!["female", "other"], &json!(4)));
    let some = terms.get(&format!("ValueSet/$expand?url={GENDER}&filter=fem")).await.1;
    assert_eq!(codes(&some), ["female"]);
    let (missing, _) = terms.get("ValueSet/$expand?url=http://nowhere.example").await;
    assert_eq!(missing, StatusCode::NOT_FOUND);
    let conditions = "http://hl7.org/fhir/ValueSet/condition-code";
    let (whole, outcome) = terms.get(&format!("ValueSet/$expand?url={conditions}")).await;
    assert_eq!(whole, StatusCode::UNPROCESSABLE_ENTITY, "SNOMED CT is not at hand: {outcome}");
    // A value set may be brought along.
    let set = json!({ "resourceType": "ValueSet", "status": "active", "compose": { "include": [{
        "system": ROLE, "filter": [{ "property": "concept", "op": "is-a", "value": "PRN" }] }] } });
    let (status, parents) =
        terms.post("ValueSet/$expand", &[json!({ "name": "valueSet", "resource": set })]).await;
    assert_eq!(status, StatusCode::OK, "{parents}");
    assert!(codes(&parents).contains(&"MTH") && !codes(&parents).contains(&"SIB"));
    // valueset-operation-validate-code.html
    let valid = async |query: &str| {
        let url = format!("ValueSet/$validate-code?url={GENDER}&{query}");
        out(&terms.get(&url).await.1, "result")
    };
    let system = "http://hl7.org/fhir/administrative-gender";
    assert_eq!(valid(&format!("system={system}&code=male")).await, true);
    assert_eq!(valid(&format!("system={system}&code=MALES")).await, false);
    assert_eq!(valid("system=http://other&code=male").await, false);
    let url =
        format!("ValueSet/$validate-code?url={conditions}&system=http://snomed.info/sct&code=1");
    assert_eq!(terms.get(&url).await.0, StatusCode::NOT_FOUND, "unknown is no `false`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concepts_are_translated_by_the_map_that_is_brought_along() {
    let terms = Terms::open().await;
    // conceptmap-operation-translate.html
    let map = json!({ "resourceType": "ConceptMap", "status": "active", "group": [{
        "source": "http://a", "target": "http://b", "element": [
            { "code": "x", "target": [{ "code": "1", "equivalence": "equivalent" }] }] }] });
    let translated = async |code: &str| {
        let parameters = [
            json!({ "name": "conceptMap", "resource": map }),
            json!({ "name": "coding", "valueCoding": { "system": "http://a", "code": code } }),
        ];
        let (status, told) = terms.post("ConceptMap/$translate", &parameters).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        assert_eq!(holdfast_fhir::validate(&told), []);
        told
    };
    let told = translated("x").await;
    assert_eq!(out(&told, "result"), true);
    assert_eq!(told["parameter"][1]["part"][1]["valueCoding"]["code"], "1");
    assert_eq!(out(&translated("y").await, "result"), false);
    let unknown = "ConceptMap/$translate?url=http://nowhere.example&code=x&system=http://a";
    assert_eq!(terms.get(unknown).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_code_systems_of_one_organization_are_at_hand_there_and_nowhere_else() {
    let terms = Terms::open().await;
    let url = format!("{}/CodeSystem", terms.base);
    let made = terms.doors.ask(&terms.token, Method::POST, &url, &[], Some(&colours())).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&made.body));
    let lookup = "CodeSystem/$lookup?system=http://colours.example&code=red";
    let (status, told) = terms.get(lookup).await;
    assert_eq!((status, out(&told, "display")), (StatusCode::OK, json!("Red")));
    assert!(told.to_string().contains("Rot") && told.to_string().contains("crimson"));
    let location = made.header("location").strip_suffix("/_history/1").unwrap();
    let id = location.rsplit('/').next().unwrap();
    let by_id = format!("CodeSystem/{id}/$subsumes?codeA=red&codeB=crimson");
    assert_eq!(out(&terms.get(&by_id).await.1, "outcome"), "subsumes");
    let set = json!({ "resourceType": "ValueSet", "status": "active", "compose": { "include": [
        { "system": "http://colours.example" }] } });
    let set = json!({ "name": "valueSet", "resource": set });
    let all = terms.post("ValueSet/$expand", std::slice::from_ref(&set)).await.1;
    assert_eq!(codes(&all), ["red", "crimson", "puce"]);
    let active = json!({ "name": "activeOnly", "valueBoolean": true });
    assert_eq!(codes(&terms.post("ValueSet/$expand", &[set, active]).await.1), ["red", "crimson"]);

    let (lab, caller) = terms.doors.kit.sign_in_for_token("laboratory-staff").await;
    for base in [terms.base.clone(), format!("/fhir/{}", caller.organization())] {
        let told = terms.doors.get(&lab, &format!("{base}/{lookup}")).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND, "{base}");
        let told = terms.doors.get(&lab, &format!("{base}/{by_id}")).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND, "{base}");
    }
}
