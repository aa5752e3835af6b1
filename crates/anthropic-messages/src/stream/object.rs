//! Where a JSON object ends that comes in pieces.

/// Follows a JSON object to its end. It looks at brackets and strings only: what is within them may be anything.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Object {
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
    is_complete: bool,
}

impl Object {
    pub(super) const fn is_complete(self) -> bool {
        self.is_complete
    }

    pub(super) fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            if self.is_in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.is_in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.is_complete |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}
