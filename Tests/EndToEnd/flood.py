"""Holds as many connections to one port as it can, without a certificate, and opens new ones for those that end.

flood.py FROM_ADDRESS TO_ADDRESS PORT plain|tls COUNT SECONDS
"""
import select
import socket
import ssl
import sys
import time

source, target, port, kind, count, seconds = sys.argv[1:7]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
# Some hundred a second: enough to hold every place for ever, and not so many that the test is about processors.
pace = 2 if kind == "tls" else 5
held: list[socket.socket] = []
tries, ended = 0, time.monotonic() + float(seconds)
while time.monotonic() < ended:
    for _ in range(min(pace, int(count) - len(held))):
        tries += 1
        one = socket.socket()
        one.settimeout(2)
        try:
            one.bind((source, 0))
            one.connect((target, int(port)))
            if kind == "tls":
                one = context.wrap_socket(one)
            held.append(one)
        except OSError:
            one.close()
            break
    gone: list[socket.socket] = select.select(held, [], [], 0.02)[0]
    for one in gone:
        one.close()
        held.remove(one)
print(f"{tries} connections tried, {len(held)} held at the end")
