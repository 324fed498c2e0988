//! Reference parser of an event stream: the HTML Standard (section 9.2.6), sentence by sentence, without regard to
//! speed. It reads only the data of an event.

/// The data of every event of a whole stream.
pub fn events(stream: &[u8]) -> Vec<String> {
    // "Streams must be decoded using the UTF-8 decode algorithm", which removes one byte order mark.
    let text = String::from_utf8_lossy(stream);
    let mut rest = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    let mut data_buffer = String::new();
    let mut events = Vec::new();
    // "Lines must be separated by either a CRLF character pair, a single LF character, or a single CR
    // character." A line without a line end cannot complete an event and is ignored.
    while let Some(at) = rest.find(['\r', '\n']) {
        let (line, end) = rest.split_at(at);
        rest = end.strip_prefix("\r\n").or_else(|| end.strip_prefix(['\r', '\n'])).expect("a line's end");
        if line.is_empty() {
            // "If the data buffer is an empty string", there is no event. Otherwise "if the data buffer's
            // last character is a LF character, then remove the last character."
            if let Some(data) = data_buffer.strip_suffix('\n') {
                events.push(data.to_owned());
            }
            data_buffer.clear();
        } else if line.starts_with(':') {
            // "Ignore the line."
        } else {
            // "If value starts with a space character, remove it from value." Without a colon the whole
            // line is the field's name, "and the empty string as the field value".
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            if field == "data" {
                // "Append the field value to the data buffer, then append a single LF character."
                data_buffer.push_str(value);
                data_buffer.push('\n');
            }
        }
    }
    // "Once the end of the file is reached, any pending data must be discarded."
    events
}
