//! Signing in.

use maud::{Markup, html};

use super::frame::{bare, mark};

/// The sign-in page; `problem` says why the last attempt failed and what to do.
pub(crate) fn sign_in(user: &str, problem: Option<&str>) -> Markup {
    bare(
        "Sign in",
        html! {
            div.gate {
                section.gate-about aria-label="About Holdfast" {
                    p.gate-brand { (mark()) "Holdfast" }
                    p.gate-line { "Health records that hold." }
                    ul.gate-points {
                        li { "Each look at a record is in the ledger before the record opens." }
                        li { "You see what your patients’ care needs, from every organization that has it." }
                        li { "An account is one person. Yours is for you alone." }
                    }
                }
                section.gate-form aria-labelledby="sign-in" {
                    h1 #sign-in { "Sign in" }
                    @if let Some(problem) = problem {
                        p.problem #problem role="alert" { (problem) }
                    }
                    form action="/sign-in" method="post" autocomplete="on" {
                        label for="user" { "User name" }
                        input #user name="user" type="text" value=(user) required autofocus[user.is_empty()]
                            maxlength="80" autocomplete="username" autocapitalize="none" spellcheck="false"
                            aria-describedby=[problem.map(|_| "problem")];
                        label for="password" { "Password" }
                        input #password name="password" type="password" required maxlength="200"
                            autofocus[!user.is_empty()] autocomplete="current-password";
                        label for="code" { "Six-digit code" }
                        input.code #code name="code" type="text" required inputmode="numeric"
                            pattern="[0-9 ]{6,7}" maxlength="7" autocomplete="one-time-code"
                            aria-describedby="code-hint";
                        p.hint #code-hint { "From the authenticator app that you enrolled with." }
                        button.primary { "Sign in" }
                    }
                    p.hint { "Cannot get in? Ask your organization’s administrator; nobody else can help, and nobody will ask you for your password." }
                }
            }
        },
    )
}
