//! JSON, written from left to right. To make a tree of it first would cost more than everything else that a run does.

use std::fmt::{Display, Write};

#[derive(Debug, Default)]
pub struct Writer {
    text: String,
}

impl Writer {
    /// What was written.
    pub fn into_text(self) -> String {
        self.text
    }

    pub fn object(&mut self, fields: impl FnOnce(&mut Writer)) {
        self.enclosed('{', fields, '}');
    }

    /// The name of a field; its value is what is written next.
    pub fn field(&mut self, name: &str) -> &mut Writer {
        self.string(name);
        self.text.push(':');
        self
    }

    pub fn array<T>(&mut self, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Writer, T)) {
        self.array_of(|writer| items.into_iter().for_each(|item| write(writer, item)));
    }

    /// An array of what is written by `items`, of any kind.
    pub fn array_of(&mut self, items: impl FnOnce(&mut Writer)) {
        self.enclosed('[', items, ']');
    }

    /// Null, where there is nothing.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.plain("null"),
        }
    }

    /// A number, of whatever type.
    pub fn number(&mut self, number: impl TryInto<u64>) {
        // All that is counted fits.
        self.plain(number.try_into().unwrap_or(u64::MAX));
    }

    pub fn string(&mut self, text: &str) {
        self.separate();
        self.text.push('"');
        let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        if text.bytes().any(is_special) {
            for c in text.chars() {
                self.escaped(c);
            }
        } else {
            self.text.push_str(text);
        }
        self.text.push('"');
    }

    fn escaped(&mut self, c: char) {
        match c {
            '"' | '\\' => self.text.extend(['\\', c]),
            // Writing to a string does not fail.
            '\0'..' ' => drop(write!(self.text, "\\u{:04x}", c as u32)),
            c => self.text.push(c),
        }
    }

    fn plain(&mut self, value: impl Display) {
        self.separate();
        let _ = write!(self.text, "{value}");
    }

    fn enclosed(&mut self, open: char, content: impl FnOnce(&mut Writer), close: char) {
        self.separate();
        self.text.push(open);
        content(self);
        self.text.push(close);
    }

    /// Between two values, or two fields.
    fn separate(&mut self) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.text.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_reads_as_what_was_written() {
        let texts = [
            "",
            "{",
            "[:",
            "a,b",
            "\"",
            "\\",
            "\\\"x",
            "\n\r\t\0\u{1f}\u{7f}",
            "é\u{2028}\u{10ffff}",
        ];
        let mut writer = Writer::default();
        writer.object(|json| {
            json.field("nothing").option(None, Writer::string);
            json.field("something").option(Some("x"), Writer::string);
            json.field("empty").object(|_| {});
            json.field("numbers").array([0, u64::MAX], Writer::number);
            json.field("texts").array(texts, Writer::string);
            json.field("nested").array([1, 2], |json, n| {
                json.object(|json| {
                    json.field("n").number(n as usize);
                    json.field("[").array([[n], [n]], |json, inner| {
                        json.array(inner, |json, n: u64| json.number(n))
                    });
                });
            });
            for text in texts {
                json.field(text).string(text);
            }
        });
        let mut expected = json!({
            "nothing": null,
            "something": "x",
            "empty": {},
            "numbers": [0, u64::MAX],
            "texts": texts,
            "nested": [{ "n": 1, "[": [[1], [1]] }, { "n": 2, "[": [[2], [2]] }],
        });
        for text in texts {
            expected[text] = text.into();
        }
        assert_eq!(
            serde_json::from_str::<Value>(&writer.into_text()).expect("JSON"),
            expected
        );
    }
}
