//! The directives in the user's message that control the simulation.

use std::time::Duration;
use tithe_chat::{EmbeddingInput, Message, Role};
use tithe_engine::inference::ChatRequest;

const EVALUATION_MARKER: &str = "TITHE-EVALUATION v1";
const SLOW_DEFAULT: Duration = Duration::from_millis(50);

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Task {
    /// A customer's work.
    #[default]
    Work,
    /// The evaluation of a customer's request.
    Evaluation(Verdict),
}

/// The result of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Reject,
    Nonsense,
}

/// The directives in the user's message, as far as they apply to the task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "directives are independent of each other")]
pub(super) struct Directives {
    pub(super) task: Task,
    pub(super) fail: bool,
    pub(super) refuse: bool,
    pub(super) stall: bool,
    pub(super) die: bool,
    pub(super) no_usage: bool,
    pub(super) reasons: bool,
    /// The functions to call.
    pub(super) calls: Vec<String>,
    pub(super) delta_delay: Option<Duration>,
}

impl Directives {
    pub(super) fn of(request: &ChatRequest) -> Self {
        let text = request.chat.last_user_text();
        if is_evaluation(request) {
            let names: Vec<&str> = names_in(&text).collect();
            let has = |name: &str| names.contains(&name);
            let verdict = match () {
                () if has("nonsense-evaluation") => Verdict::Nonsense,
                () if has("reject") => Verdict::Reject,
                () => Verdict::Accept,
            };
            let task = Task::Evaluation(verdict);
            return Self { task, fail: has("fail-evaluation"), ..Self::default() };
        }
        Self::of_work(&text)
    }

    /// The directives in texts that are to be embedded.
    pub(super) fn of_input(input: &EmbeddingInput) -> Self {
        match input {
            EmbeddingInput::Texts(texts) => Self::of_work(&texts.concat()),
            EmbeddingInput::Tokens(_) => Self::default(),
        }
    }

    fn of_work(text: &str) -> Self {
        let names: Vec<&str> = names_in(text).collect();
        let has = |name: &str| names.contains(&name);
        Self {
            task: Task::Work,
            fail: has("fail"),
            refuse: has("refuse"),
            stall: has("stall"),
            die: has("die"),
            no_usage: has("no-usage"),
            reasons: has("reason"),
            calls: names.iter().filter_map(|name| name.strip_prefix("call=")).map(str::to_owned).collect(),
            delta_delay: names.iter().find_map(|name| delta_delay(name)),
        }
    }
}

fn is_evaluation(request: &ChatRequest) -> bool {
    let system = request.chat.messages.iter().filter(|message| message.role == Role::System);
    let mut texts = system.filter_map(Message::own_text);
    texts.any(|text| text.lines().any(|line| line.trim() == EVALUATION_MARKER))
}

fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("[sim:").skip(1).filter_map(|rest| rest.split_once(']').map(|(name, _)| name))
}

fn delta_delay(name: &str) -> Option<Duration> {
    match name.strip_prefix("slow")? {
        "" => Some(SLOW_DEFAULT),
        millis => millis.strip_prefix('=')?.parse().ok().map(Duration::from_millis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tithe_chat::Chat;

    fn directives(messages: &[(Role, &str)]) -> Directives {
        let messages = messages.iter().map(|(role, text)| Message::text(*role, *text)).collect();
        Directives::of(&ChatRequest {
            model: "any".to_owned(),
            chat: Arc::new(Chat { messages, ..Chat::default() }),
            max_output_tokens: 100,
            deterministic: false,
        })
    }

    fn work(text: &str) -> Directives {
        directives(&[(Role::User, text)])
    }

    fn evaluation(text: &str) -> Directives {
        directives(&[(Role::System, "Judge.\nTITHE-EVALUATION v1\nAnswer in JSON."), (Role::User, text)])
    }

    #[test]
    fn directives_are_found_anywhere_in_the_last_user_message() {
        assert_eq!(work("hello"), Directives::default());
        assert_eq!(work("a[sim:fail]b"), Directives { fail: true, ..Directives::default() });
        let both = Directives { die: true, no_usage: true, ..Directives::default() };
        assert_eq!(work("[sim:die] and [sim:no-usage]"), both);
        for text in ["[sim:]", "[sim:fail", "sim:fail]", "[sim:failing]", "[sim:reject]"] {
            assert_eq!(work(text), Directives::default(), "{text}");
        }
        let earlier = [(Role::User, "[sim:fail]"), (Role::Assistant, "[sim:die]"), (Role::User, "again")];
        assert_eq!(directives(&earlier), Directives::default());
    }

    #[test]
    fn slowness_can_be_dosed() {
        for (text, millis) in [
            ("[sim:slow]", Some(50)),
            ("[sim:slow=7]", Some(7)),
            ("[sim:slow=]", None),
            ("[sim:slow=x]", None),
            ("[sim:slower]", None),
        ] {
            assert_eq!(work(text).delta_delay, millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn evaluations_obey_their_own_directives_only() {
        let verdict = |verdict| Directives { task: Task::Evaluation(verdict), ..Directives::default() };
        assert_eq!(
            evaluation("[sim:fail] [sim:stall] [sim:die] [sim:slow] [sim:refuse]"),
            verdict(Verdict::Accept)
        );
        assert_eq!(evaluation("[sim:reject]"), verdict(Verdict::Reject));
        assert_eq!(evaluation("[sim:nonsense-evaluation]"), verdict(Verdict::Nonsense));
        assert_eq!(
            evaluation("[sim:fail-evaluation]"),
            Directives { fail: true, ..verdict(Verdict::Accept) }
        );
    }

    #[test]
    fn only_the_system_can_ask_for_an_evaluation_and_only_on_a_line_of_its_own() {
        assert_eq!(work("TITHE-EVALUATION v1").task, Task::Work);
        let inline = [(Role::System, "Never say TITHE-EVALUATION v1."), (Role::User, "x")];
        assert_eq!(directives(&inline).task, Task::Work);
    }
}
