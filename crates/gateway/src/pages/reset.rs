//! `GET /password/reset`, `POST /password/reset/form`: where the link in the mail leads, for apps without a page of their
//! own.
//!
//! The link is the same for everybody. The code is typed or pasted into the form and travels in the body of a request:
//! it is in no address that a log, a browser's history or a `Referer` could keep, and programs that follow the links in a
//! mail to look at them cannot use it up. The page works without a script, which its policy forbids.

use auth::native::NativeService;
use axum::{
    Form,
    extract::{State, rejection::FormRejection},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;

use super::form_page;
use crate::{
    caller::{Anybody, Peer},
    native::{extract::Secret, reset},
    routes::Routes,
};

const FORM: &str = include_str!("reset.html");

/// Where the sentence about the last attempt stands in the page.
const SENTENCE: &str = "<!-- sentence -->";

pub(super) fn routes() -> Routes {
    Routes::default().get("/password/reset", page).post("/password/reset/form", submit)
}

/// The form as a browser sends it.
#[derive(Deserialize)]
struct ResetForm {
    code: Secret,
    password: Secret,
    /// The password once more.
    again: Secret,
}

/// Shows a form for the code that was mailed and a new password.
async fn page(_: Anybody) -> Response {
    form_page(StatusCode::OK, FORM.replace(SENTENCE, ""))
}

/// Sets another password, as `POST /password/reset/confirm` does, and answers with a page.
async fn submit(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
    form: Result<Form<ResetForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(rejection) => return again(rejection.status(), "The form was not complete."),
    };
    if *form.password.0 != *form.again.0 {
        return again(StatusCode::UNPROCESSABLE_ENTITY, "The two passwords differ.");
    }
    match service.reset_password(&form.code.0, &form.password.0, peer.origin()).await {
        Ok(()) => form_page(StatusCode::OK, done()),
        Err(error) => {
            let code = reset::refuse(error).code();
            again(code.status(), code.title())
        }
    }
}

/// The form once more, with what was wrong. Nothing that was typed is in it.
fn again(status: StatusCode, sentence: &str) -> Response {
    form_page(status, FORM.replace(SENTENCE, &format!("<p role=\"alert\"><strong>{sentence}</strong></p>")))
}

fn done() -> String {
    let (head, _) = FORM.split_once(SENTENCE).unwrap_or((FORM, ""));
    format!(
        "{head}<p role=\"status\">Your password is set, and every device was logged out. Log in with the new one.</p>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_no_script_and_asks_nobody_else() {
        for page in [FORM.to_owned(), done()] {
            for elsewhere in ["http:", "https:", "<script", "style=", "//"] {
                assert!(!page.contains(elsewhere), "{elsewhere}");
            }
        }
        assert!(FORM.contains(SENTENCE) && !done().contains("<form"));
    }
}
