//! The fields that the service adds to a request, and the forms that remain after a refusal.

use super::super::{AttemptErrorKind, Delivery, ErrorReport};
use crate::domain::{ChatRequest, OUTPUT_LIMITS};

/// The fields that the service adds to a request, and their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestForm {
    pub delivery: Delivery,
    pub stream_options: StreamOptions,
    pub limit_name: LimitName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamOptions {
    Sent,
    Omitted,
}

/// The name under which the output limit of the caller is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitName {
    MaxCompletionTokens,
    MaxTokens,
}

impl LimitName {
    pub const fn name(self) -> &'static str {
        let [newer, older] = OUTPUT_LIMITS;
        match self {
            Self::MaxCompletionTokens => newer,
            Self::MaxTokens => older,
        }
    }
}

/// Whether an upstream may be requested to return a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeAnswers {
    Allowed {
        /// Largest body that is read, in bytes.
        max_bytes: usize,
    },
    /// `upstreams.always_stream`
    Never,
}

/// The forms of one request that may be sent, and those that the upstream refused.
///
/// A refusal is not billed, so the request is retried without some of the added fields, at most once in each form.
#[derive(Debug)]
pub struct RequestForms {
    /// In the order in which they are sent.
    forms: Vec<RequestForm>,
    refused: Vec<RequestForm>,
    first: Option<RequestForm>,
    /// Whether the caller or the service asks for a stream.
    stream: StreamOrigin,
    limit: Limited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamOrigin {
    Caller,
    Service,
}

/// Whether an output limit was added to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limited {
    Yes,
    No,
}

/// A default that a form gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concession {
    StreamOptions,
    LimitName,
    Stream,
}

impl RequestForms {
    pub fn new(request: &ChatRequest, delivery: Delivery, whole: WholeAnswers) -> Self {
        let stream =
            if request.fields.get("stream") == Some("true") { StreamOrigin::Caller } else { StreamOrigin::Service };
        let own_options = request.fields.get("stream_options").is_some();
        let deliveries = match (delivery, whole) {
            (_, WholeAnswers::Never) => &[Delivery::Stream][..],
            // The service adds nothing about the stream: a refusal of it concerns fields of the caller.
            (Delivery::Stream, _) if stream == StreamOrigin::Caller && own_options => &[Delivery::Stream],
            (Delivery::Stream, _) => &[Delivery::Stream, Delivery::Whole],
            (Delivery::Whole, _) => &[Delivery::Whole],
        };
        let limit_names = match request.added_limit {
            Some(_) => &[LimitName::MaxCompletionTokens, LimitName::MaxTokens][..],
            None => &[LimitName::MaxCompletionTokens],
        };
        let mut forms = Vec::new();
        for &delivery in deliveries {
            let options = match (delivery, own_options) {
                (Delivery::Stream, false) => &[StreamOptions::Sent, StreamOptions::Omitted][..],
                (Delivery::Stream, true) => &[StreamOptions::Sent],
                (Delivery::Whole, _) => &[StreamOptions::Omitted],
            };
            for &limit_name in limit_names {
                forms.extend(options.iter().map(|&stream_options| RequestForm {
                    delivery,
                    stream_options,
                    limit_name,
                }));
            }
        }
        let limit = if request.limit_is_the_operators() { Limited::Yes } else { Limited::No };
        Self { forms, refused: Vec::new(), first: None, stream, limit }
    }

    /// Returns the first form to send: the one without the fields that this upstream is known to refuse.
    pub fn first(&mut self, refuses: impl Fn(Concession) -> bool) -> RequestForm {
        let is_known = |form: &&RequestForm| {
            let keeps =
                |concession| self.concedes(**form).any(|conceded| conceded == concession) == refuses(concession);
            // A field that the caller sent cannot be given up.
            let can =
                |concession| self.forms.iter().any(|form| self.concedes(*form).any(|conceded| conceded == concession));
            let implied = |concession| form.delivery == Delivery::Whole && concession == Concession::StreamOptions;
            CONCESSIONS.into_iter().all(|concession| !can(concession) || implied(concession) || keeps(concession))
        };
        let first = self.forms.iter().find(is_known).or(self.forms.first()).copied();
        self.first = first;
        first.unwrap_or(RequestForm {
            delivery: Delivery::Stream,
            stream_options: StreamOptions::Sent,
            limit_name: LimitName::MaxCompletionTokens,
        })
    }

    /// Returns the form to send after `form` was refused.
    ///
    /// Errors: the refusal, if no form remains or the upstream names another cause.
    pub fn next(&mut self, form: RequestForm, error: AttemptErrorKind) -> Result<RequestForm, AttemptErrorKind> {
        let AttemptErrorKind::Refused { status: 400 | 422, report, .. } = &error else { return Err(error) };
        let reason = RefusalCause::of(report.as_deref());
        self.refused.push(form);
        let is_candidate = |next: &&RequestForm| match reason {
            RefusalCause::Unknown => true,
            RefusalCause::Other => false,
            // Only the field that the upstream names is changed.
            RefusalCause::Named(Concession::StreamOptions) => {
                **next == RequestForm { stream_options: StreamOptions::Omitted, ..form }
                    && form.delivery == Delivery::Stream
            }
            RefusalCause::Named(Concession::LimitName) => **next == RequestForm { limit_name: next.limit_name, ..form },
            RefusalCause::Named(Concession::Stream) => {
                next.delivery == Delivery::Whole && next.limit_name == form.limit_name
            }
        };
        let next = self.forms.iter().filter(|next| !self.refused.contains(next)).find(is_candidate);
        next.copied().ok_or_else(|| match error {
            AttemptErrorKind::Refused { status, report, .. } if self.limit_is_refused(reason) => {
                AttemptErrorKind::LimitRefused { status, report }
            }
            error => error,
        })
    }

    /// Returns whether the limit was refused under both names, as far as the upstream reports it.
    fn limit_is_refused(&self, reason: RefusalCause) -> bool {
        let was_refused = |name| self.refused.iter().any(|form| form.limit_name == name);
        self.limit == Limited::Yes
            && matches!(reason, RefusalCause::Unknown | RefusalCause::Named(Concession::LimitName))
            && [LimitName::MaxCompletionTokens, LimitName::MaxTokens].into_iter().all(was_refused)
    }

    /// Returns the verdicts of a successful `form`; empty if it was the first form that was sent.
    pub fn collect_verdicts(&self, form: RequestForm) -> Vec<(Concession, Verdict)> {
        if self.first == Some(form) {
            return Vec::new();
        }
        let conceded: Vec<_> = self.concedes(form).collect();
        let known = self.forms.iter().flat_map(|form| self.concedes(*form));
        let mut verdicts: Vec<_> =
            CONCESSIONS.into_iter().filter(|concession| known.clone().any(|it| it == *concession)).collect();
        verdicts.retain(|concession| *concession != Concession::Stream || self.stream == StreamOrigin::Service);
        // A whole answer has no stream options, so it shows nothing about them.
        verdicts.retain(|concession| form.delivery == Delivery::Stream || *concession != Concession::StreamOptions);
        let verdict = |concession| if conceded.contains(&concession) { Verdict::Refused } else { Verdict::Accepted };
        verdicts.into_iter().map(|concession| (concession, verdict(concession))).collect()
    }

    fn concedes(&self, form: RequestForm) -> impl Iterator<Item = Concession> + Clone {
        let streams = form.delivery == Delivery::Stream;
        let whole = !streams && self.forms.iter().any(|form| form.delivery == Delivery::Stream);
        let conceded = [
            (streams && form.stream_options == StreamOptions::Omitted, Concession::StreamOptions),
            (form.limit_name == LimitName::MaxTokens, Concession::LimitName),
            (whole, Concession::Stream),
        ];
        conceded.into_iter().filter(|(conceded, _)| *conceded).map(|(_, concession)| concession)
    }
}

const CONCESSIONS: [Concession; 3] = [Concession::StreamOptions, Concession::LimitName, Concession::Stream];

/// Whether a successful request shows that an added field is accepted or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
}

/// Why an upstream refused a request, as far as it reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefusalCause {
    Named(Concession),
    /// A cause other than an added field.
    Other,
    Unknown,
}

/// Codes of refusals that no added field can cause.
const UNRELATED_CODES: [&str; 6] = [
    "content_filter",
    "context_length_exceeded",
    "insufficient_quota",
    "invalid_api_key",
    "model_not_found",
    "rate_limit_exceeded",
];

impl RefusalCause {
    fn of(report: Option<&ErrorReport>) -> Self {
        let Some(report) = report else { return Self::Unknown };
        if report.code.as_deref().is_some_and(|code| UNRELATED_CODES.contains(&code)) {
            return Self::Other;
        }
        // Validators send the path of the field, such as `body.stream_options`.
        if let Some(param) = &report.param {
            return Self::named(param).unwrap_or(Self::Other);
        }
        report.message.as_deref().and_then(Self::named).unwrap_or(Self::Unknown)
    }

    fn named(text: &str) -> Option<Self> {
        let words = || text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let names = |name: &str| words().any(|word| word == name);
        let concession = if names("stream_options") {
            Concession::StreamOptions
        } else if OUTPUT_LIMITS.into_iter().any(names) {
            Concession::LimitName
        } else if names("stream") {
            Concession::Stream
        } else {
            return None;
        };
        Some(Self::Named(concession))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::json::JsonObject;

    const ALLOWED: WholeAnswers = WholeAnswers::Allowed { max_bytes: 1 };

    fn request(fields: &str, limit: Option<u32>) -> ChatRequest {
        let fields = JsonObject::parse(fields.as_bytes()).expect("an object");
        ChatRequest { added_limit: limit.and_then(NonZeroU32::new), ..ChatRequest::new("m".into(), fields) }
    }

    fn refusal(report: Option<ErrorReport>) -> AttemptErrorKind {
        AttemptErrorKind::Refused { status: 422, retry_after: None, report: report.map(Box::new) }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a refusal may have none")]
    fn param(param: &str) -> Option<ErrorReport> {
        Some(ErrorReport { param: Some(param.into()), ..ErrorReport::default() })
    }

    /// Abbreviates a form: `s`tream or `w`hole, `o`ptions, `-` for the older name of the limit.
    fn short(form: RequestForm) -> String {
        let delivery = if form.delivery == Delivery::Stream { "s" } else { "w" };
        let options = if form.stream_options == StreamOptions::Sent { "o" } else { "" };
        let limit = if form.limit_name == LimitName::MaxTokens { "-" } else { "" };
        [delivery, options, limit].concat()
    }

    /// Returns the forms that are sent to an upstream that refuses each, and the last error.
    fn tried(
        fields: &str,
        limit: Option<u32>,
        delivery: Delivery,
        report: Option<&ErrorReport>,
    ) -> (String, AttemptErrorKind) {
        let mut forms = RequestForms::new(&request(fields, limit), delivery, ALLOWED);
        let mut form = forms.first(|_| false);
        let mut tried = vec![short(form)];
        loop {
            match forms.next(form, refusal(report.cloned())) {
                Ok(next) => form = next,
                Err(error) => return (tried.join(" "), error),
            }
            tried.push(short(form));
        }
    }

    #[test]
    fn refusal_without_a_reason_tries_each_form_once() {
        let own_options = r#"{"stream_options":{}}"#;
        for (fields, limit, delivery, expected) in [
            ("{}", None, Delivery::Whole, "w"),
            ("{}", Some(1), Delivery::Whole, "w w-"),
            ("{}", None, Delivery::Stream, "so s w"),
            (own_options, None, Delivery::Stream, "so w"),
            (r#"{"stream_options":{},"stream":true}"#, None, Delivery::Stream, "so"),
            ("{}", Some(1), Delivery::Stream, "so s so- s- w w-"),
        ] {
            let (tried, error) = tried(fields, limit, delivery, None);
            assert_eq!(tried, expected);
            assert_eq!(matches!(error, AttemptErrorKind::LimitRefused { .. }), limit.is_some());
        }
    }

    #[test]
    fn refusal_that_names_a_field_changes_only_that_field() {
        let message = |message: &str| Some(ErrorReport { message: Some(message.into()), ..ErrorReport::default() });
        let code =
            Some(ErrorReport { code: Some("context_length_exceeded".into()), ..message("max_tokens").expect("one") });
        for (report, expected) in [
            (param("body.stream_options"), "so s"),
            (param("max_completion_tokens"), "so so-"),
            (param("stream"), "so w"),
            (param("messages"), "so"),
            (message("Unknown field `stream_options`."), "so s"),
            (message("'max_tokens' is not supported"), "so so-"),
            (message("Streaming is off"), "so s so- s- w w-"),
            (code, "so"),
        ] {
            assert_eq!(tried("{}", Some(1), Delivery::Stream, report.as_ref()).0, expected, "{report:?}");
        }
    }

    #[test]
    fn other_errors_are_not_retried() {
        let mut forms = RequestForms::new(&request("{}", None), Delivery::Stream, ALLOWED);
        let form = forms.first(|_| false);
        for status in [401, 404, 413, 429, 500] {
            let error = AttemptErrorKind::Refused { status, retry_after: None, report: None };
            assert_eq!(forms.next(form, error.clone()), Err(error));
        }
    }

    #[test]
    fn verdicts_exclude_fields_that_the_caller_sent() {
        let refusals = |fields: &str, refused: usize| {
            let mut forms = RequestForms::new(&request(fields, None), Delivery::Stream, ALLOWED);
            let mut form = forms.first(|_| false);
            for _ in 0..refused {
                form = forms.next(form, refusal(None)).expect("another form");
            }
            let refusals = forms.collect_verdicts(form).into_iter();
            refusals
                .filter(|(_, verdict)| *verdict == Verdict::Refused)
                .map(|(concession, _)| concession)
                .collect::<Vec<_>>()
        };
        assert_eq!(refusals("{}", 0), []);
        assert_eq!(refusals("{}", 1), [Concession::StreamOptions]);
        assert_eq!(refusals("{}", 2), [Concession::Stream]);
        assert_eq!(refusals(r#"{"stream":true}"#, 2), []);
        assert_eq!(refusals(r#"{"stream_options":{}}"#, 1), [Concession::Stream]);
    }

    #[test]
    fn known_refusal_selects_the_first_form_and_its_refusal_tries_the_others() {
        for (fields, limit, known, expected) in [
            ("{}", None, &[Concession::StreamOptions][..], "s"),
            ("{}", Some(1), &[Concession::LimitName, Concession::StreamOptions], "s-"),
            ("{}", Some(1), &[Concession::LimitName, Concession::Stream], "w-"),
            ("{}", None, &[Concession::LimitName], "so"),
            (r#"{"stream_options":{}}"#, None, &[Concession::StreamOptions], "so"),
            (r#"{"stream":true}"#, None, &[Concession::Stream], "w"),
        ] {
            let mut forms = RequestForms::new(&request(fields, limit), Delivery::Stream, ALLOWED);
            let first = forms.first(|concession| known.contains(&concession));
            assert_eq!(short(first), expected, "{fields} {known:?}");
            assert!(forms.collect_verdicts(first).is_empty());
            assert!(forms.next(first, refusal(None)).is_ok());
        }
    }

    #[test]
    fn always_streaming_upstream_gets_no_request_for_a_whole_answer() {
        let mut forms = RequestForms::new(&request("{}", None), Delivery::Whole, WholeAnswers::Never);
        assert_eq!(short(forms.first(|_| false)), "so");
        assert!(forms.forms.iter().all(|form| form.delivery == Delivery::Stream));
    }
}
