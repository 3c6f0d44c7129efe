//! Searching through the door: what FHIR R4 search.html says of results, values and
//! places, and what stays invisible.

use axum::http::{Method, Request, StatusCode};
use holdfast_exchange::{Ask, Event, Filter, Format};
use serde_json::{Value, json};

use crate::search::{Practice, ids};

async fn post(p: &Practice, path: &str, form: &str) -> Value {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{path}", p.base))
        .header("authorization", format!("Bearer {}", p.token))
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = p.doors.send(request, form.as_bytes()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn link<'a>(bundle: &'a Value, relation: &str) -> Option<&'a str> {
    let links = bundle["link"].as_array()?;
    links.iter().find(|link| link["relation"] == relation)?["url"].as_str()
}

fn keys(resource: &Value) -> String {
    let mut names: Vec<String> = resource.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names.join(" ")
}

/// search.html#sort, #total, #count, #summary, #elements, #errors, #Introduction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_shaped_as_they_are_asked_for() {
    let mut p = Practice::open().await;
    // #sort: ascending, descending, several, without a value last.
    let sorted = async |p: &Practice, query: &str| ids(&p.bundle(query).await, "match").join(" ");
    let of_a = "/Observation?patient=pat-a";
    assert_eq!(sorted(&p, &format!("{of_a}&_sort=date")).await, "lab-1 bp-1 lab-2");
    assert_eq!(sorted(&p, &format!("{of_a}&_sort=-date")).await, "lab-2 lab-1 bp-1");
    assert_eq!(sorted(&p, &format!("{of_a}&_sort=code,-_id")).await, "lab-2 lab-1 bp-1");
    assert_eq!(sorted(&p, &format!("{of_a}&_sort=value-quantity")).await, "lab-2 lab-1 bp-1");
    assert_eq!(sorted(&p, "/Patient?given=grace&_sort=birthdate").await, "pat-a pat-b");
    assert_eq!(sorted(&p, "/Patient?given=grace&_sort=-birthdate").await, "pat-b pat-a");
    assert_eq!(sorted(&p, "/Patient?given=grace&_sort=family").await, "pat-b pat-a");
    assert_eq!(sorted(&p, "/Observation?code=2345-7&_sort=-date").await, "lab-2 lab-3 lab-1");
    // #total and #count: exact, however many are on the page; left out when not wanted.
    for query in ["/Observation?patient=pat-a", "/Observation?code=2345-7", "/Patient?given=grace"]
    {
        let whole = p.bundle(query).await;
        for asked in
            ["&_count=1", "&_summary=count", "&_count=0", "&_total=accurate", "&_total=estimate"]
        {
            let page = p.bundle(&format!("{query}{asked}")).await;
            assert_eq!(page["total"], whole["total"], "{query}{asked}");
        }
        assert!(p.bundle(&format!("{query}&_summary=count")).await.get("entry").is_none());
        assert!(p.bundle(&format!("{query}&_count=0")).await.get("entry").is_none());
        assert!(p.bundle(&format!("{query}&_total=none")).await.get("total").is_none());
    }
    // #summary and #elements.
    let shown = async |p: &Practice, asked: &str| {
        let bundle = p.bundle(&format!("/Condition?patient=pat-a&{asked}")).await;
        keys(&bundle["entry"][0]["resource"])
    };
    assert!(!shown(&p, "_summary=data").await.contains("text"));
    assert_eq!(shown(&p, "_summary=text").await, "id meta resourceType subject text");
    let some = shown(&p, "_elements=code").await;
    assert!(
        some.contains("code") && some.contains("subject") && !some.contains("category"),
        "{some}"
    );
    // #Introduction: POST with a form is the same search, at every place.
    let form = "patient=pat-a&code=2345-7";
    assert_eq!(post(&p, "/Observation/_search", form).await["total"], 2);
    assert_eq!(post(&p, "/_search?_type=Observation", form).await["total"], 2);
    assert_eq!(post(&p, "/Patient/pat-a/Observation/_search", "code=2345-7").await["total"], 2);
    // #errors: strict names it; lenient leaves it out, and the self link tells.
    assert_eq!(p.refused("/Observation?colour=blue&patient=pat-a").await, "not-supported");
    let url = format!("{}/Observation?colour=blue&patient=pat-a&_count=1", p.base);
    let lenient = [("prefer", "handling=lenient")];
    let page = p.doors.ask(&p.token, Method::GET, &url, &lenient, None).await.json();
    assert!(!link(&page, "self").unwrap().contains("colour"), "{page}");
    assert!(link(&page, "self").unwrap().contains("patient=pat-a"));
    assert_eq!(ids(&page, "outcome").len(), 1);
    let next = link(&page, "next").unwrap().strip_prefix("https://hie.example").unwrap();
    assert_eq!(p.doors.get(&p.token, next).await.status, StatusCode::OK, "nor asked again");
    // A pinned page: what is written in between is not on it.
    let first = p.bundle("/Observation?patient=pat-a&_count=1&_sort=date").await;
    let mut late = p.bundle("/Observation?_id=lab-1").await["entry"][0]["resource"].clone();
    late["id"] = json!("lab-0");
    late["effectiveDateTime"] = json!("2010-01-01");
    p.put(&late).await;
    let next = link(&first, "next").unwrap().strip_prefix("https://hie.example").unwrap();
    let second = p.doors.get(&p.token, next).await.json();
    assert_eq!((&second["total"], ids(&second, "match")), (&json!(3), vec!["bp-1".to_owned()]));
    // It expires.
    p.doors.kit.clock.advance_ms(31 * 60_000);
    let (token, _, _) = p.doors.clinician().await;
    p.token = token;
    let gone = p.doors.get(&p.token, next).await;
    assert_eq!(
        (gone.status, &gone.json()["issue"][0]["code"]),
        (StatusCode::BAD_REQUEST, &json!("expired"))
    );
    // `_explain` opens nothing.
    let plan = p.bundle("/Observation?patient.family=chalmers&code=2345-7&_explain=true").await;
    assert_eq!(plan["resourceType"], "Parameters");
    let text = plan.to_string();
    assert!(text.contains("directory") && !text.to_lowercase().contains("chalmers"), "{text}");
}

/// search.html#token, #quantity, #uri, #special, #combining, #filter, #content,
/// #contained, compartmentdefinition.html, http.html#search.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_and_places_are_searched_as_the_specification_says() {
    let p = Practice::open().await;
    // #quantity: the same amount in another unit of UCUM, in a record and over all.
    for scope in ["patient=pat-a&", ""] {
        let quantity = |value: &str| {
            format!("/Observation?{scope}value-quantity={value}|http://unitsofmeasure.org|mg/dL")
        };
        p.check(&quantity("110"), "lab-2").await;
        p.check(&quantity("97"), "lab-1").await;
        let above = if scope.is_empty() { "lab-2 lab-3" } else { "lab-2" };
        p.check(&quantity("gt100"), above).await;
        p.check(&quantity("lt0.098").replace("mg/dL", "kg/m3"), "").await;
    }
    // #combining: one component, not two between them.
    p.check("/Observation?patient=pat-a&component-code-value-quantity=8480-6$120", "bp-1").await;
    p.check("/Observation?patient=pat-a&component-code-value-quantity=8480-6$80", "").await;
    p.check(
        "/Observation?patient=pat-a&combo-code-value-quantity=8462-4$lt90,2345-7$97",
        "bp-1 lab-1",
    )
    .await;
    p.check("/Observation?code-value-quantity=2345-7$ge120", "lab-3").await;
    p.check("/Observation?code-value-quantity=2345-7$ge120,2345-7$97", "lab-1 lab-3").await;
    assert_eq!(
        p.refused("/Observation?component-code-value-quantity=8480-6$120").await,
        "not-supported"
    );
    // #modifiers.
    p.check(
        "/Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|MRN-pat-b",
        "pat-b",
    )
    .await;
    p.check(
        "/Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|SS|MRN-pat-b",
        "",
    )
    .await;
    p.check(
        "/Observation?patient=pat-a&status:in=http://hl7.org/fhir/ValueSet/observation-status",
        "bp-1 lab-1 lab-2",
    )
    .await;
    p.check(
        "/Observation?patient=pat-a&status:not-in=http://hl7.org/fhir/ValueSet/observation-status",
        "",
    )
    .await;
    p.check("/Observation?status:in=http://hl7.org/fhir/ValueSet/observation-status&code:code-text=2345", "lab-1 lab-2 lab-3").await;
    p.check("/Observation?patient=pat-a&encounter:missing=true", "lab-2").await;
    p.check("/Observation?patient=https://hie.example/fhir/lakeside-family/Patient/pat-b", "lab-3")
        .await;
    assert_eq!(
        p.refused("/Observation?patient=pat-a&code:below=http://loinc.org|2345-7").await,
        "not-supported"
    );
    // #special: near.
    p.check("/Location?near=41.0|-85|20|km", "loc-1").await;
    p.check("/Location?near=41.0|-85|1|km", "").await;
    // #content and #text, within a record.
    p.check("/Condition?patient=pat-a&_text=cough", "con-a").await;
    p.check("/Condition?patient=pat-a&_content=%22acute%20bronchitis%22", "con-a").await;
    p.check("/Condition?patient=pat-a&_text=asthma", "").await;
    let (status, outcome) = p.answer("/Condition?_text=cough").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(outcome.to_string().contains("one patient's record"), "{outcome}");
    // search_filter.html.
    let filter = |text: &str| format!("_filter={}", text.replace(' ', "%20").replace('"', "%22"));
    let within = |text: &str| format!("/Observation?patient=pat-a&{}", filter(text));
    p.check(&within("code eq 2345-7 and date ge 2016"), "lab-2").await;
    p.check(&within("code eq 85354-9 or date ge 2016"), "bp-1 lab-2").await;
    p.check(&within("not (code eq 2345-7)"), "bp-1").await;
    p.check(&within("encounter pr false"), "lab-2").await;
    p.check(&within("encounter.location.name sw \"room\""), "bp-1 lab-1").await;
    p.check(&format!("/Observation?{}", filter("code eq 2345-7 and not (date lt 2016)")), "lab-2")
        .await;
    p.check(
        &format!("/Patient?{}", filter("family sw \"chal\" or family sw \"bram\"")),
        "pat-a pat-b",
    )
    .await;
    p.check(&format!("/Patient?{}", filter("given eq \"grace\" and birthdate ge 1960")), "pat-b")
        .await;
    // #contained.
    p.put(&json!({ "resourceType": "DiagnosticReport", "id": "rep-c", "status": "final",
        "code": { "text": "panel" }, "subject": { "reference": "Patient/pat-a" },
        "result": [{ "reference": "#o" }],
        "contained": [{ "resourceType": "Observation", "id": "o", "status": "preliminary",
            "code": { "text": "inside" }, "subject": { "reference": "Patient/pat-a" } }] }))
        .await;
    p.check("/Observation?patient=pat-a&status=preliminary", "").await;
    p.check("/Observation?patient=pat-a&status=preliminary&_contained=true", "rep-c").await;
    p.check(
        "/Observation?patient=pat-a&status=preliminary,final&_contained=both&_count=9",
        "bp-1 lab-1 lab-2 rep-c",
    )
    .await;
    assert_eq!(p.refused("/Observation?status=preliminary&_contained=true").await, "not-supported");
    // Compartments and several types.
    p.check("/Patient/pat-a/Observation?code=2345-7", "lab-1 lab-2").await;
    p.check("/Patient/pat-a/Condition", "con-a").await;
    p.check("/Encounter/enc-a/Observation", "bp-1 lab-1").await;
    p.check("/Practitioner/doc-2/Encounter", "enc-b").await;
    p.check("/Practitioner/doc-1/PractitionerRole", "role-1").await;
    let everything = p.bundle("/Patient/pat-b/*").await;
    assert_eq!(everything["total"], 3, "{everything}");
    let (several, _) = p.found("/?_type=Condition,Observation&patient=pat-a").await;
    assert_eq!(several, "bp-1 con-a lab-1 lab-2");
    let (over_all, _) = p.found("/?_type=Encounter,Practitioner&_lastUpdated=gt2000").await;
    assert_eq!(over_all, "doc-1 doc-2 enc-a enc-b");
    let mut url = "/?_type=Encounter,Observation&_lastUpdated=gt2000&_count=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = p.bundle(&url).await;
        assert_eq!(page["total"], 6);
        seen.extend(ids(&page, "match"));
        let Some(next) = link(&page, "next") else { break };
        url = next.strip_prefix("https://hie.example/fhir/lakeside-family").unwrap().to_owned();
    }
    seen.sort();
    assert_eq!(seen.join(" "), "bp-1 enc-a enc-b lab-1 lab-2 lab-3");
    assert_eq!(p.refused("/?patient=pat-a").await, "value");
    let nobody = p.answer("/Patient/nobody/Observation").await;
    assert_eq!(nobody.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_what_may_not_be_seen_is_in_no_include_chain_total_or_error() {
    let p = Practice::open().await;
    // A restricted result of one's own patient, and somebody of another organization.
    p.put(&json!({ "resourceType": "Observation", "id": "hidden", "status": "final",
        "meta": { "security": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R" }] },
        "code": { "text": "secret" }, "subject": { "reference": "Patient/pat-a" },
        "encounter": { "reference": "Encounter/enc-a" } })).await;
    let options = holdfast_sample::Options { patients: 20, seed: 7, ..Default::default() };
    let item = holdfast_sample::generate(&options)
        .find(|item| {
            item.interface.as_str() == "hl7v2@st-brendan-hospital" && item.kind.starts_with("ADT")
        })
        .unwrap();
    let admission = p.doors.kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
    let theirs = |kind: &str| {
        let written = admission.written.iter().find(|written| written.resource_type == kind);
        written.map_or("none".to_owned(), |written| written.id.clone())
    };
    let (person, visit) = (theirs("Patient"), theirs("Encounter"));
    p.put(&json!({ "resourceType": "DiagnosticReport", "id": "rep-h", "status": "final",
        "code": { "text": "panel" }, "subject": { "reference": "Patient/pat-a" },
        "encounter": { "reference": format!("Encounter/{visit}") },
        "result": [{ "reference": "Observation/hidden" }, { "reference": "Observation/lab-1" }] }))
        .await;

    let includes = "/DiagnosticReport?_id=rep-h&_include=DiagnosticReport:result&_include=DiagnosticReport:encounter";
    p.check_included(includes, "rep-h", "lab-1").await;
    p.check("/DiagnosticReport?patient=pat-a&result.code:text=secret", "").await;
    p.check("/Patient?_has:Observation:patient:code:text=secret", "").await;
    let back = "/Encounter?_id=enc-a&_revinclude=Observation:encounter";
    p.check_included(back, "enc-a", "bp-1 lab-1").await;
    assert!(!p.bundle("/Patient/pat-a/*?_count=100").await.to_string().contains("secret"));
    // What is somebody else's and what is nowhere answer alike.
    let like = async |query: &str, theirs: &str| {
        let (there, nowhere) = (
            p.answer(&query.replace('@', theirs)).await,
            p.answer(&query.replace('@', "no-one")).await,
        );
        let bare = |(status, mut body): (StatusCode, Value)| {
            body["id"] = Value::Null;
            (status, body.to_string().replace(theirs, "no-one"))
        };
        assert_eq!(bare(there), bare(nowhere), "{query}");
    };
    like("/Observation?patient=@", &person).await;
    like("/Patient?_id=@", &person).await;
    like("/Encounter?_id=@", &visit).await;
    like("/Encounter?_id=@&_summary=count", &visit).await;
    like("/Patient/@/Observation", &person).await;
    like("/Encounter/@/*", &visit).await;
    like("/Observation?encounter.subject=Patient/@", &person).await;
    like("/Patient?_has:Encounter:patient:_id=@", &visit).await;
    like("/Observation?_list=@", &person).await;
    // The same over the other organization's own URL, for one who has no patient there.
    let other = "/fhir/st-brendan-hospital";
    for query in [
        "/Encounter?status:missing=false&_summary=count",
        "/Encounter?subject:Patient.gender=female,male&_include=Encounter:patient",
        "/Patient?_has:Encounter:patient:status=finished",
        "/?_type=Encounter,Observation&_lastUpdated=gt2000",
    ] {
        let answer = p.doors.get(&p.token, &format!("{other}{query}")).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains(&visit) && !text.contains(&person), "{query}: {text}");
        assert!(answer.status != StatusCode::OK || answer.json()["total"] == 0, "{query}: {text}");
    }
    // What went along is in the ledger, record by record.
    let officer = Ask::new(p.doors.kit.sign_in("security-officer").await);
    let filter = Filter { kinds: vec!["access".into()], ..Filter::default() };
    let before = p.doors.kit.exchange().ledger_entries(&officer, &filter).await.unwrap().len();
    p.found("/Encounter?status=finished&_include=Encounter:patient").await;
    let entries = p.doors.kit.exchange().ledger_entries(&officer, &filter).await.unwrap();
    let touched: Vec<Vec<String>> = entries[before..]
        .iter()
        .filter_map(|placed| match &placed.entry.event {
            Event::Access { touches, .. } => {
                Some(touches.iter().map(|touch| touch.resource_type.clone()).collect())
            }
            _ => None,
        })
        .collect();
    assert_eq!(touched, [["Encounter", "Patient"], ["Encounter", "Patient"]]);
}
