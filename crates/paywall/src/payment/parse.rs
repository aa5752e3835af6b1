//! Challenges out of `WWW-Authenticate` headers, as clients read them.

use super::fields::Fields;
use super::{Challenge, ChargeTerms, Intent, SessionRequest, base64url};

impl Challenge {
    /// The challenges of the scheme `Payment` in the value of a `WWW-Authenticate` header, or in several values joined by
    /// commas, in their order. Those that miss a required parameter, or are malformed, are left out.
    ///
    /// Of a parameter that occurs twice, the first counts. Nothing says that a challenge is genuine: a client reads the
    /// invoice before it pays.
    #[must_use]
    pub fn parse_all(www_authenticate: &str) -> Vec<Self> {
        let mut challenges = Vec::new();
        let mut current: Option<Self> = None;
        for element in elements(www_authenticate) {
            let (token, rest) = split_token(trim(element));
            let rest = trim(rest);
            let (parameter, starts) = if let Some(value) = rest.strip_prefix('=') {
                (Some((token, value)), false)
            } else {
                let (name, value) = split_token(rest);
                (trim(value).strip_prefix('=').map(|value| (name, value)), !token.is_empty())
            };
            if starts {
                challenges.extend(current.take());
                current = token.eq_ignore_ascii_case("Payment").then(Self::default);
            }
            if let (Some(challenge), Some((name, value))) = (&mut current, parameter)
                && let Some(value) = unquoted(trim(value))
            {
                challenge.set(&name.to_ascii_lowercase(), value);
            }
        }
        challenges.extend(current);
        challenges.retain(Self::is_complete);
        challenges
    }

    /// What the challenge asks for, if it is a charge of the method `lightning`.
    #[must_use]
    pub fn charge_terms(&self) -> Option<ChargeTerms> {
        let is_charge = self.method.eq_ignore_ascii_case("lightning") && self.intent == "charge";
        let json = base64url::decode(&self.request).filter(|_| is_charge)?;
        ChargeTerms::read(&Fields::parse(&json)?).ok()
    }

    /// What the challenge asks for, if it is a session of the method `lightning`.
    #[must_use]
    pub fn session_terms(&self) -> Option<SessionRequest> {
        let is_session =
            self.method.eq_ignore_ascii_case("lightning") && self.intent == Intent::Session.as_str();
        let json = base64url::decode(&self.request).filter(|_| is_session)?;
        SessionRequest::read(&Fields::parse(&json)?).ok()
    }

    fn set(&mut self, name: &str, value: String) {
        let required = match name {
            "id" => &mut self.id,
            "realm" => &mut self.realm,
            "method" => &mut self.method,
            "intent" => &mut self.intent,
            "request" => &mut self.request,
            _ => return self.set_optional(name, value),
        };
        if required.is_empty() {
            *required = value;
        }
    }

    fn set_optional(&mut self, name: &str, value: String) {
        let optional = match name {
            "expires" => &mut self.expires,
            "digest" => &mut self.digest,
            "opaque" => &mut self.opaque,
            "description" => &mut self.description,
            _ => return,
        };
        if optional.is_none() && !value.is_empty() {
            *optional = Some(value);
        }
    }

    fn is_complete(&self) -> bool {
        [&self.id, &self.realm, &self.method, &self.intent, &self.request].iter().all(|text| !text.is_empty())
    }
}

/// What commas separate, but for those in quotes.
fn elements(text: &str) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    text.split(move |char| {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if in_quotes => is_escaped = true,
            '"' => in_quotes = !in_quotes,
            ',' => return !in_quotes,
            _ => {}
        }
        false
    })
}

/// The token that a text begins with (RFC 9110, section 5.6.2), and what follows it.
fn split_token(text: &str) -> (&str, &str) {
    let end = text.find(|char: char| !is_in_tokens(char)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn is_in_tokens(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char)
}

/// The value of a parameter: a token, or a quoted string.
fn unquoted(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else {
        return Some(value.to_owned()).filter(|value| value.chars().all(is_in_tokens));
    };
    let mut unquoted = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => unquoted.push(chars.next()?),
            char => unquoted.push(char),
        }
    }
    chars.next().is_none().then_some(unquoted)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_charge_of_another_server_may_leave_out_what_the_draft_does_not_demand() {
        let terms = |request: &str| {
            let (method, intent) = ("lightning".to_owned(), "charge".to_owned());
            let request = base64url::encode(request.as_bytes());
            Challenge { method, intent, request, ..Challenge::default() }.charge_terms()
        };
        let spare = r#"{"amount":"7","currency":"sat","methodDetails":{"invoice":"lnbc1"}}"#;
        let spare = terms(spare).unwrap();
        assert_eq!((spare.amount.get(), &*spare.invoice, spare.payment_hash), (7, "lnbc1", None));
        for wrong in [
            r#"{"amount":"7","currency":"usd","methodDetails":{"invoice":"lnbc1"}}"#,
            r#"{"amount":"0","currency":"sat","methodDetails":{"invoice":"lnbc1"}}"#,
            r#"{"amount":"7","currency":"sat","methodDetails":{"invoice":"lnbc1","paymentHash":"00"}}"#,
            r#"{"amount":"7","currency":"sat","methodDetails":{}}"#,
        ] {
            assert!(terms(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_terms_of_a_session_are_those_of_its_request_and_no_other_intent_has_any() {
        let json = format!(
            r#"{{"amount":"7","currency":"sat","depositAmount":"140","depositInvoice":"lnbc1","paymentHash":"{}"}}"#,
            "cd".repeat(32)
        );
        let challenge = |intent: &str, request: &str| {
            let (method, intent) = ("Lightning".to_owned(), intent.to_owned());
            Challenge {
                method,
                intent,
                request: base64url::encode(request.as_bytes()),
                ..Challenge::default()
            }
        };
        let terms = challenge("session", &json).session_terms().unwrap();
        assert_eq!((terms.amount.get(), terms.payment_hash), (7, [0xcd; 32]));
        assert_eq!(terms.deposit_invoice.as_deref(), Some("lnbc1"));
        for (intent, request) in [("charge", json.as_str()), ("session", "{}"), ("session", "")] {
            assert!(challenge(intent, request).session_terms().is_none(), "{intent} {request}");
        }
    }

    fn challenge() -> impl Strategy<Value = Challenge> {
        let required = || "[ -~\té]{1,12}";
        let optional = || prop::option::of("[ -~\té]{1,12}");
        let slots = (
            required(),
            required(),
            required(),
            required(),
            required(),
            optional(),
            optional(),
            optional(),
            optional(),
        );
        slots.prop_map(|(id, realm, method, intent, request, expires, digest, opaque, description)| {
            Challenge { id, realm, method, intent, request, expires, digest, opaque, description }
        })
    }

    #[test]
    fn a_malformed_parameter_is_as_good_as_none() {
        let good = r#"Payment id="i", realm="r", method="m", intent="n", request="q""#;
        let [challenge] = &Challenge::parse_all(good)[..] else { panic!("not one challenge") };
        for more in [
            r#"expires="e"#,
            r#"expires="e"f"#,
            "expires=",
            "expires=é",
            r#"expires="e\"#,
            "expires",
            "=e",
            "\"",
        ] {
            let parsed = Challenge::parse_all(&format!("{good}, {more}"));
            assert!(parsed.iter().all(|parsed| parsed == challenge), "{more}: {parsed:?}");
        }
        for wrong in [
            "",
            "Payment",
            "Payment abc==",
            "L402 macaroon=\"a\", invoice=\"b\"",
            &good.replace("id=", "ID2="),
        ] {
            assert_eq!(Challenge::parse_all(wrong), [], "{wrong}");
        }
    }

    #[test]
    fn a_challenge_of_another_scheme_takes_its_parameters_with_it() {
        let header = r#"L402 macaroon="a", invoice="b", Payment id="i", realm="r", method="m", intent="n", request="q", Bearer, opaque="x""#;
        let challenges = Challenge::parse_all(header);
        assert_eq!(challenges.len(), 1);
        assert_eq!(challenges[0].opaque, None);
    }

    #[test]
    fn the_first_of_two_equal_parameters_counts() {
        let header = r#"Payment id="i", realm="r", method="m", intent="n", request="q", expires="1", Expires="2", id="j""#;
        let [challenge] = &Challenge::parse_all(header)[..] else { panic!("not one challenge") };
        assert_eq!((challenge.id.as_str(), challenge.expires.as_deref()), ("i", Some("1")));
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_parsed(challenges in prop::collection::vec(challenge(), 0..3)) {
            let headers: Vec<_> = challenges.iter().map(|challenge| challenge.header().unwrap()).collect();
            prop_assert_eq!(Challenge::parse_all(&headers.join(", ")), challenges);
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "(Payment [a-z=\", \\\\é]{0,40}){0,3}|\\PC*") {
            let _ = Challenge::parse_all(&text);
        }
    }
}
