"""The TLS context of a broker connection."""

import ssl
from pathlib import Path

from edge_agent.settings import BrokerSettings


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """Build the context: certificates and host name are always checked, TLS 1.2 is the least.

    Read again at each connect, so that renewed certificates are taken up without a restart.

    Raises:
        OSError: a file is missing or unreadable, or (ssl.SSLError) holds no certificate or key that fits.
    """
    for file in (settings.ca_file, settings.cert_file, settings.key_file):
        if file is not None:
            Path(file).open("rb").close()  # ssl's own error does not name the file
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=settings.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file is not None:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context
