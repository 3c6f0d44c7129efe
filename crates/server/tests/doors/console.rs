//! Pages of those who run the exchange.

use axum::http::{Method, Request, StatusCode};
use holdfast_exchange::Format;

use crate::{Answer, Doors};

impl Doors {
    /// A page or form of the console, as the browser that has this session sends it.
    async fn console(&self, token: &str, method: Method, url: &str, form: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("cookie", format!("__Host-holdfast={token}"))
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request, form.as_bytes()).await
    }

    async fn page(&self, token: &str, url: &str) -> String {
        let answer = self.console(token, Method::GET, url, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{url}");
        String::from_utf8(answer.body).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_made_on_a_page_and_their_secrets_shown_once() {
    let doors = Doors::open().await;
    let (administrator, _) = doors.kit.sign_in_for_token("administrator").await;
    let page = doors.page(&administrator, "/accounts").await;
    assert!(page.contains("Lakeside Family Medicine") && page.contains("dr.amara.okafor"));
    let form = "user=jan.own&display_name=Jan+Own&organization=lakeside-family&role=nurse&npi=\
                &certificate_request=";
    let made = doors.console(&administrator, Method::POST, "/accounts", form).await;
    let shown = String::from_utf8(made.body.clone()).unwrap();
    assert!(shown.contains("otpauth://totp/Holdfast:jan.own"), "{shown}");
    assert_eq!(made.header("cache-control"), "no-store");
    let page = doors.page(&administrator, "/accounts").await;
    assert!(page.contains("jan.own") && !page.contains("otpauth"));
    let organization = "id=north-clinic&name=North+Clinic&module=practice&street=&city=&state=IN\
                        &postal_code=&phone=&authority=NORTH%3Durn%3Aoid%3A2.999.9&time_zone=UTC0";
    let url = "/accounts/organizations";
    let added = doors.console(&administrator, Method::POST, url, organization).await;
    assert_eq!(added.status, StatusCode::SEE_OTHER);
    assert!(doors.page(&administrator, "/accounts?done=added").await.contains("North Clinic"));
    let closed =
        doors.console(&administrator, Method::POST, "/accounts/close", "user=jan.own").await;
    assert_eq!(closed.status, StatusCode::SEE_OTHER);
    // A nurse or an officer makes nobody.
    let (officer, _) = doors.kit.sign_in_for_token("security-officer").await;
    let form = form.replace("jan.own", "eve.own");
    let refused = doors.console(&officer, Method::POST, "/accounts", &form).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    // Nor a page of somebody else's that has the browser send the form.
    let request = Request::builder()
        .method("POST")
        .uri("/accounts")
        .header("cookie", format!("__Host-holdfast={administrator}"))
        .header("sec-fetch-site", "cross-site");
    assert_eq!(doors.send(request, form.as_bytes()).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_refused_messages_are_listed_without_a_word_and_opened_by_their_office() {
    let doors = Doors::open().await;
    let message = "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|M1|P|2.5.1\rNK1|1|Quillfeather^Isolde\r";
    let sent = doors.kit.send("hl7v2@lakeside-family", Format::Hl7v2, message.as_bytes()).await;
    let number = sent.message;
    let (administrator, _) = doors.kit.sign_in_for_token("administrator").await;
    let page = doors.page(&administrator, "/messages?category=missing").await;
    assert!(page.contains("patient segment") && !page.contains("Quillfeather"), "{page}");
    let show = format!("/messages/{number}/show");
    let refused = doors.console(&administrator, Method::POST, &show, "reason=x").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let (clinician, ..) = doors.clinician().await;
    let refused = doors.console(&clinician, Method::GET, "/messages", "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let (officer, _) = doors.kit.sign_in_for_token("privacy-officer").await;
    let shown = doors.console(&officer, Method::POST, &show, "reason=the+sender+asks").await;
    assert!(String::from_utf8(shown.body).unwrap().contains("Quillfeather"));
    let replay = format!("/messages/{number}/replay");
    let again = doors.console(&officer, Method::POST, &replay, "").await;
    assert_eq!(again.header("location"), "/messages?total=1&finished=0");
    let all = doors.console(&officer, Method::POST, "/messages/replay", "category=missing").await;
    assert_eq!(all.header("location"), "/messages?total=1&finished=0");
    let told = doors.page(&officer, "/messages?total=1&finished=0").await;
    assert!(told.contains("refused again"), "{told}");
    let odd = doors.page(&officer, "/messages?category=%3Cscript%3E").await;
    assert!(!odd.contains("script"), "nothing of a link gets onto the page");
}
