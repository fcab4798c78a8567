use super::*;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const JSON: Option<&str> = Some("application/json");

/// `name|message|event|key=value,key=value`
fn check(query: &str, content_type: Option<&str>, body: impl AsRef<[u8]>, expected: &str) {
    let message = message(query, content_type, body.as_ref(), "").unwrap();
    let fields: Vec<_> = message.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let found = format!("{}|{}|{}|{}", message.name, message.message, message.event, fields.join(","));
    assert_eq!(found, expected);
}

fn check_refused(query: &str, content_type: Option<&str>, body: impl AsRef<[u8]>, status: u16, line: &str) {
    let refusal = message(query, content_type, body.as_ref(), "").unwrap_err();
    assert_eq!((refusal.status, refusal.line.as_str()), (status, line));
}

#[test]
fn what_curl_sends_becomes_a_message() {
    check("", FORM, "name=Florian&message=Hi", "Florian|Hi|message|");
    check("name=Florian&message=Hi", None, "", "Florian|Hi|message|");
    check("", Some("APPLICATION/x-www-form-urlencoded; charset=utf-8"), "message=a+b%20c%0A", "|a b c\n|message|");
    check("", None, "build done\n", "|build done\n|message|");
    check("name=ci", Some("text/plain"), "done", "ci|done|message|");
    check("", JSON, r#"{"name":"F","message":"Hi","n":1.10,"ok":true,"no":null}"#, "F|Hi|message|n=1.10,ok=true");
    check("", FORM, "message=x&event=ci&mood=ok&mood=later", "|x|ci|mood=ok");
}

#[test]
fn a_key_and_a_status_are_told_from_fields() {
    let read = |query: &str| message(query, None, b"", "").map(|read| (read.key, read.status));
    let both = |key: &str, status: &str| Ok((key.to_owned(), status.to_owned()));
    assert_eq!(read("message=x&key=disk+of+web1&status=failed&more=1"), both("disk of web1", "failed"));
    assert_eq!(read("message=x"), both("", ""));
    assert_eq!(read(&format!("message=x&key={}", "ä".repeat(128))), both(&"ä".repeat(128), ""));
    let rule = "send at most 128 characters, none of them a control character";
    check_refused("message=x&key=a%0Ab", None, "", 400, &format!(r#"the key "a\nb" cannot be used; {rule}"#));
    check_refused("message=x&status=a%00", None, "", 400, &format!(r#"the status "a\0" cannot be used; {rule}"#));
    assert!(read(&format!("message=x&key={}", "x".repeat(129))).is_err());
}

#[test]
fn a_number_has_a_name_and_a_value_and_stands_by_its_bounds() {
    let check = |query: &str, expected: &str| {
        let read = message(&format!("event=number&{query}"), None, b"", "").unwrap();
        let Message { name, message, key, status, .. } = read;
        assert_eq!(format!("{name}|{message}|{key}|{status}"), expected, "{query}");
    };
    check("name=temp&value=21.50&unit=°C&above=28", "temp|21.50 °C|temp|ok");
    check("name=temp&value=28.1&above=28", "temp|28.1|temp|warn");
    check("name=temp&value=-3&below=0", "temp|-3|temp|warn");
    check("name=temp&value=.5&below=0&above=1", "temp|.5|temp|ok");
    check("key=t&value=1e3&message=hot&status=bad", "|hot|t|bad");
    let refused = |query: &str, line: &str| {
        check_refused(&format!("event=number&{query}"), None, "", 400, line);
    };
    refused("name=x", "the number has no value; send value=DECIMAL");
    refused("value=1", "the number has no name; send name=TEXT");
    for text in ["inf", "NaN", "1e999", "x", ""] {
        let line = format!("value=\"{text}\" is no number; send a decimal, such as 21.5");
        refused(&format!("name=x&value={text}"), &line);
    }
    refused("name=x&value=1&above=y", "above=\"y\" is no number; send a decimal, such as 21.5");
}

#[test]
fn the_body_wins_and_the_first_wins() {
    check("name=query&message=query", FORM, "message=body", "query|body|message|");
    check("message=one&message=two", None, "", "|one|message|");
    check("name=n&message=query", FORM, "message=", "n||message|");
    check("message=query", None, "", "|query|message|");
}

#[test]
fn broken_text_is_mended() {
    check("", FORM, b"message=\xff%ff", "|\u{fffd}\u{fffd}|message|");
    check("", None, b"a\xffb", "|a\u{fffd}b|message|");
    check("", FORM, "message=%zz%4", "|%zz%4|message|");
}

#[test]
fn a_token_is_not_carried_along() {
    check("token=secret&message=x", None, "", "|x|message|");
}

#[test]
fn a_multipart_form_is_read_as_browsers_and_curl_write_it() {
    let form = Some("multipart/form-data; boundary=----x");
    let part = |name: &str, value: &str| {
        format!("------x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = part("name", "Florian") + &part("message", "Hi\r\nthere") + &part("k", "") + "------x--\r\n";
    check("", form, body.as_str(), "Florian|Hi\r\nthere|message|k=");
    check("", form, format!("preamble\r\n{body}epilogue"), "Florian|Hi\r\nthere|message|k=");
    check("", Some("multipart/form-data; boundary=\"----x\""), body.as_str(), "Florian|Hi\r\nthere|message|k=");
    let file = "------x\r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION: form-data; filename=\"a;b\\\"\"; \
                name=message\r\n\r\nfrom a file\r\n------x--";
    check("", form, file, "|from a file|message|");
    // A value that looks nearly like a delimiter.
    check("", form, part("message", "--\r\n-----x\r\n--") + "------x--", "|--\r\n-----x\r\n--|message|");
    // A part that is no field is skipped.
    for head in ["form-data", "attachment; name=\"name\"", "form-data; filename=\"a\""] {
        let other = format!("------x\r\nContent-Disposition: {head}\r\n\r\nv\r\n");
        check("", form, other + &part("message", "Hi") + "------x--", "|Hi|message|");
    }
    // So is one without headers, wherever it stands.
    let bare = "------x \t\r\n\r\nof nobody\r\n";
    for body in [bare.to_owned() + &part("message", "Hi"), part("message", "Hi") + bare] {
        check("", form, body + "------x--", "|Hi|message|");
    }
}

#[test]
fn json_is_read_as_it_was_written() {
    let check = |body: &str, expected: &str| check("", JSON, body, expected);
    check("\u{feff}{\"message\":\"Hi\"}", "|Hi|message|");
    check(
        r#"{"message":1E5,"a":-0.0,"b":1e+400,"c":100000000000000000000}"#,
        "|1E5|message|a=-0.0,b=1e+400,c=100000000000000000000",
    );
    check(r#"{"message":"Hi","list":[1,{"a":2}],"more":{"message":"no"}}"#, "|Hi|message|");
    check(r#"{"message":"\ud83d\ude00 \ud83d","\udc00a":null}"#, "|\u{1F600} \u{fffd}|message|");
    check(
        r#"{"message":"\\ud800 \ude00\ud83d \uD83D\uD83D\uDE00"}"#,
        "|\\ud800 \u{fffd}\u{fffd} \u{fffd}\u{1F600}|message|",
    );
    check(r#"{"message":"\u00e9\n"}"#, "|\u{e9}\n|message|");
}

#[test]
fn a_body_of_no_type_or_beside_what_is_said_is_no_reason_to_refuse() {
    check("", Some(""), "Hi", "|Hi|message|");
    check("", Some(" ; charset=utf-8"), "Hi", "|Hi|message|");
    check("message=q", Some("image/png"), "\u{89}PNG", "|q|message|");
}

#[test]
fn a_broken_multipart_form_is_refused() {
    let form = Some("multipart/form-data; boundary=x");
    let line = "the form cannot be read; send multipart/form-data as curl -F does";
    for body in [
        "nothing",
        "--x\r\n",
        "--x\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\ncut off",
        "--xyz\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\nv\r\n--xyz--",
    ] {
        check_refused("", form, body, 400, line);
    }
    let line = "the form has no boundary; send multipart/form-data; boundary=..., as curl -F does";
    check_refused("", Some("multipart/form-data"), "x", 400, line);
}

#[test]
fn refusals_say_what_to_send() {
    check_refused("", None, "", 400, "nothing is said; send message=TEXT, name=TEXT or both");
    check_refused("", FORM, "name=&message=", 400, "nothing is said; send message=TEXT, name=TEXT or both");
    let rule = "send 1 to 64 of A-Z a-z 0-9 _ . -";
    check_refused("message=x&event=a%20b%0A", None, "", 400, &format!("\"a b\\n\" is no event name; {rule}"));
    check_refused("message=x&event=", None, "", 400, &format!("\"\" is no event name; {rule}"));
    let names = "send message=TEXT, and names of 1 to 64 of A-Z a-z 0-9 _ . -";
    check_refused("message=x&a%2fb=1", None, "", 400, &format!("\"a/b\" is no field name; {names}"));
    check_refused("name=F", FORM, "Hi there", 400, &format!("\"Hi there\" is no field name; {names}"));
    check_refused("", FORM, "key=&message=x", 400, "the key is empty; send 1 to 128 characters, or leave it out");
    check_refused("", FORM, "Hi", 400, "nothing is said; send message=TEXT, name=TEXT or both");
    let many: Vec<_> = (0..33).map(|n| format!("k{n}=v")).collect();
    check_refused(&many.join("&"), FORM, "message=x", 400, "there are 33 further fields; send at most 32");
    let types = "send application/x-www-form-urlencoded, multipart/form-data, application/json or text/plain";
    check_refused("", Some("image/png"), "x", 415, &format!("the body is \"image/png\"; {types}"));
    let example = r#"send one object, such as {"name":"Florian","message":"Hi"}"#;
    check_refused("", JSON, "[1]", 400, &format!("the JSON is not an object; {example}"));
    let nothing = "nothing is said; send message=TEXT, name=TEXT or both";
    check_refused("", FORM, "name=\u{200b}&message=\u{3164}\u{ad}", 400, nothing);
    check_refused("", JSON, r#"{"message":{"$serde_json::private::Number":"5"}}"#, 400, nothing);
    check_refused("", JSON, r#"{"message":{"$serde_json::private::RawValue":"5"}}"#, 400, nothing);
    let header = "the body is JSON and called a form; send the header Content-Type: application/json";
    check_refused("", FORM, r#"{"message":"a & b = c"}"#, 400, header);
    let encode = "send a text that holds & with curl --data-urlencode message=TEXT";
    check_refused("", FORM, "message=a & b", 400, &format!("\" b\" is no field name; {encode}"));
    let token = "a token would be heard by all there; send Authorization: Bearer TOKEN, or ?token=TOKEN";
    check_refused("message=x", FORM, "token=hush", 400, token);
    check_refused("message=x&TOKEN=hush", None, "", 400, token);
    check_refused("", JSON, r#"{"message":"x","token":"hush"}"#, 400, token);
    check_refused(
        "",
        JSON,
        "{",
        400,
        &format!("the body is not JSON (EOF while parsing an object at line 1 column 1); {example}"),
    );
    check_refused(
        "",
        JSON,
        "[".repeat(100_000),
        400,
        &format!("the body is not JSON (EOF while parsing a list at line 1 column 100000); {example}"),
    );
}
