"""A mail server for the tests, made of aiosmtpd. Prints lines of JSON: first the port, then each message it takes.

Options: --tls or --starttls, --certificate FILE, --key FILE, --user NAME, --password TEXT, --unknown ADDRESS (a recipient it
refuses for good), --busy ADDRESS (one it refuses for now). Ends when its standard input does.
"""

import argparse
import asyncio
import json
import ssl
import sys
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult


def say(**what):
    print(json.dumps(what), flush=True)


class Handler:
    def __init__(self, options):
        self.options = options

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address == self.options.unknown:
            return "550 no such mailbox"
        if address == self.options.busy:
            return "451 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = message_from_bytes(envelope.content, policy=policy.default)
        say(
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            subject=message["subject"],
            text=message.get_content(),
            # None unless the client asked for TLS on an open connection.
            upgraded=session.ssl is not None,
            hello=session.host_name,
        )
        return "250 taken"


def authenticator(options):
    def check(server, session, envelope, mechanism, data):
        given = (getattr(data, "login", b"").decode(), getattr(data, "password", b"").decode())
        return AuthResult(success=given == (options.user, options.password), handled=False)

    return check


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--starttls", action="store_true")
    for name in ("certificate", "key", "user", "password", "unknown", "busy"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)

    def connection():
        return SMTP(
            Handler(options),
            hostname="mail.example.org",
            authenticator=authenticator(options),
            auth_required=options.user is not None,
            # Where TLS was there from the beginning, the library does not know of it.
            auth_require_tls=options.starttls,
            tls_context=context if options.starttls else None,
            require_starttls=options.starttls,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=context if options.tls else None)
    say(port=server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
