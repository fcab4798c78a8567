//! Promise: whatever curl can send, `/say` says it, answers `ok.`, and refuses in one line what it cannot say.

use crate::support::Server;

#[test]
fn every_curl_command_of_the_seed_program_works_and_is_heard() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let mut check = |arguments: &[&str], input: &str, heard: &str| {
        assert_eq!(server.curl_with(arguments, input.as_bytes()), "ok.", "{arguments:?}");
        assert_eq!(listener.line().unwrap(), heard, "{arguments:?}");
    };
    check(&["/say", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["/say?name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["/say", "-F", "name=Florian", "-F", "message=Hi"], "", "Florian Hi\r\n");
    check(&["/say", "-X", "PUT", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["/say", "-X", "PATCH", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["-G", "/say", "-d", "name=Florian", "--data-urlencode", "message=H&i"], "", "Florian H&i\r\n");
    let json = ["/say", "-H", "Content-Type: application/json", "-d", r#"{"name":"Florian","message":"Hi"}"#];
    check(&json, "", "Florian Hi\r\n");
    check(&["-T", "-", "/say?name=Florian"], "Hi from a pipe", "Florian Hi from a pipe\r\n");
    check(&["-0", "/say", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["--http2", "/say", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
}
