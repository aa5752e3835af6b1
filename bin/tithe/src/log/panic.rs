//! Panics are lines of the log, like everything else.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use tracing::error;

/// From now on a panic, in whatever thread or task, is a line of the log.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panicked: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    error!(
        panic = words(panicked.payload()),
        location = panicked.location().map(ToString::to_string),
        thread = thread.name(),
        backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
        "a thread has panicked"
    );
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::written::Written;

    #[test]
    fn a_panic_is_a_line_with_its_place() {
        let (written, before) = (Written::default(), std::panic::take_hook());
        // Other tests may fail meanwhile, and say why as usual.
        std::panic::set_hook(Box::new(move |panicked| {
            if std::thread::current().name() == Some("doomed") {
                log_panic(panicked);
            } else {
                before(panicked);
            }
        }));
        let log = written.log();
        let doomed = std::thread::Builder::new().name("doomed".to_owned());
        let doomed = doomed.spawn(|| tracing::subscriber::with_default(log, || panic!("out of {}", "luck")));
        assert!(doomed.unwrap().join().is_err());
        let lines = written.lines();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(
            (&line["level"], &line["panic"], &line["thread"]),
            (&"ERROR".into(), &"out of luck".into(), &"doomed".into())
        );
        assert!(line["location"].as_str().unwrap().contains("panic.rs:"), "{line}");
    }
}
