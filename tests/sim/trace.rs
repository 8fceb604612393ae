//! What happened, in words; the same words for the same seed, to the byte.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex},
};

use super::timeline::Timeline;

#[derive(Default)]
struct Book {
    text: Option<String>,
    fault: Option<String>,
    counts: BTreeMap<&'static str, u64>,
}

/// The record of one world: what happened if anybody wants to read it, what was counted, and what
/// must not have happened.
#[derive(Clone)]
pub struct Trace {
    timeline: Timeline,
    book: Arc<Mutex<Book>>,
}

impl Trace {
    /// An empty one; `is_read`: whether words are kept at all.
    pub fn new(timeline: Timeline, is_read: bool) -> Self {
        let book = Book { text: is_read.then(String::new), ..Book::default() };
        Self { timeline, book: Arc::new(Mutex::new(book)) }
    }

    /// Notes what happened.
    pub fn note(&self, words: impl FnOnce() -> String) {
        let mut book = self.book.lock().expect("one thread");
        if let Some(text) = &mut book.text {
            let now = self.timeline.now();
            let (seconds, micros) = (now.as_secs(), now.subsec_micros());
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let words = words();
            writeln!(text, "{hours:02}:{minutes:02}:{seconds:02}.{micros:06} {words}")
                .expect("text grows");
        }
    }

    /// Notes what must not happen; the first one ends the history.
    pub fn fault(&self, words: String) {
        self.note(|| format!("*** {words}"));
        let mut book = self.book.lock().expect("one thread");
        book.fault.get_or_insert(words);
    }

    /// The first thing that must not have happened.
    pub fn first_fault(&self) -> Option<String> {
        self.book.lock().expect("one thread").fault.clone()
    }

    /// Counts one `what`.
    pub fn count(&self, what: &'static str) {
        *self.book.lock().expect("one thread").counts.entry(what).or_default() += 1;
    }

    /// What was counted.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.book.lock().expect("one thread").counts.clone()
    }

    /// Everything that was noted.
    pub fn text(&self) -> String {
        self.book.lock().expect("one thread").text.clone().unwrap_or_default()
    }
}
