//! Calls of functions, put together from what many servers send of them.

use serde::de::IgnoredAny;
use tithe_chat::Delta;

/// The calls of one answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    open: Vec<Call>,
    begun: usize,
}

/// A piece of a call. What the server has not sent is empty.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// The number of the call. Some servers leave it out, and some always send 0.
    pub(super) index: Option<u64>,
    /// The id. Servers send it in the first piece, in every piece, a new one in every piece, or none.
    pub(super) id: String,
    /// The name of the function, in the first piece or in every piece.
    pub(super) name: String,
    /// More of the arguments.
    pub(super) arguments: String,
}

#[derive(Debug, Clone)]
struct Call {
    /// The number that the server uses.
    wire_index: Option<u64>,
    /// The id that the server uses.
    wire_id: String,
    /// The number in the answer, and the id there, once the name is known.
    begun: Option<(usize, String)>,
    arguments: String,
}

impl Calls {
    pub(super) const fn is_empty(&self) -> bool {
        self.begun == 0
    }

    /// Adds a piece. `answer` is the id of the answer, from which the ids of calls without one are made.
    pub(super) fn push(&mut self, piece: Piece, answer: &str, sink: &mut impl FnMut(Delta)) {
        let place = self.continued(&piece).unwrap_or_else(|| {
            let wire_id = piece.id.clone();
            let call = Call { wire_index: piece.index, wire_id, begun: None, arguments: String::new() };
            self.open.push(call);
            self.open.len() - 1
        });
        let Some(call) = self.open.get_mut(place) else { return };
        if call.wire_id.is_empty() {
            call.wire_id.clone_from(&piece.id);
        }
        if call.begun.is_none() && !piece.name.is_empty() {
            let wanted = call.wire_id.clone();
            let id = self.free_id(wanted, answer);
            let index = self.begun;
            self.begun += 1;
            let Some(call) = self.open.get_mut(place) else { return };
            call.begun = Some((index, id.clone()));
            sink(Delta::ToolCall { index, id, name: piece.name });
            if !call.arguments.is_empty() {
                sink(Delta::Arguments { index, json: call.arguments.clone() });
            }
        }
        let Some(call) = self.open.get_mut(place) else { return };
        // Some servers send the whole call once more at its end.
        let is_repeated = call.arguments == piece.arguments && is_complete(&call.arguments);
        if piece.arguments.is_empty() || is_repeated {
            return;
        }
        call.arguments.push_str(&piece.arguments);
        if let Some((index, _)) = call.begun {
            sink(Delta::Arguments { index, json: piece.arguments });
        }
    }

    /// The call that the piece continues; `None` if it begins one.
    fn continued(&self, piece: &Piece) -> Option<usize> {
        let place = match piece.index {
            Some(index) => self.open.iter().rposition(|call| call.wire_index == Some(index))?,
            None => self.continued_without_index(piece)?,
        };
        let call = self.open.get(place)?;
        if piece.name.is_empty() || call.begun.is_none() {
            return Some(place);
        }
        // Several calls with the same number or id: each has its name, and another id or whole arguments.
        let has_other_id = !piece.id.is_empty() && !call.wire_id.is_empty() && piece.id != call.wire_id;
        let has_other_arguments = piece.arguments.starts_with('{')
            && piece.arguments != call.arguments
            && is_complete(&call.arguments);
        (!has_other_id && !has_other_arguments).then_some(place)
    }

    fn continued_without_index(&self, piece: &Piece) -> Option<usize> {
        let last = self.open.len().checked_sub(1);
        let same_id = || self.open.iter().rposition(|call| call.wire_id == piece.id);
        match (piece.id.is_empty(), piece.name.is_empty()) {
            (false, false) => same_id(),
            (false, true) => same_id().or(last),
            (true, false) => None,
            (true, true) => last,
        }
    }

    /// The id for the next call: the server's, unless there is none or another call has it.
    fn free_id(&self, wanted: String, answer: &str) -> String {
        let is_taken = self.open.iter().any(|call| call.begun.as_ref().is_some_and(|(_, id)| *id == wanted));
        if !wanted.is_empty() && !is_taken {
            return wanted;
        }
        let answer: String = answer.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        format!("call_{answer}_{}", self.begun)
    }
}

/// Whether arguments are a whole object, after which nothing can come.
fn is_complete(arguments: &str) -> bool {
    arguments.starts_with('{') && serde_json::from_str::<IgnoredAny>(arguments).is_ok()
}
