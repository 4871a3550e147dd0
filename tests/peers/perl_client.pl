# A client from Perl's own library: IO::Socket::UNIX and JSON::PP, a kept connection.
# `perl perl_client.pl SOCKET` prints each answer as the line it came in.
use strict;
use warnings;
use IO::Socket::UNIX;
use JSON::PP;

my $daemon = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "cannot connect: $!";
my $json   = JSON::PP->new->utf8;

sub ask {
    my ($id, $method, $params) = @_;
    print $daemon $json->encode({ jsonrpc => "2.0", id => $id, method => $method, params => $params }), "\n";
    $daemon->flush;
    my $answer = <$daemon>;
    die "no answer to $method" unless defined $answer;
    print $answer;
    return $json->decode($answer)->{result};
}

my $session = ask(1, "create_session", { agent => "ai-analyst", client => "perl" })->{session_id};
ask(2, "append_message", [ "ai-analyst", $session, "user", "na\x{ef}ve \x{1f42a}" ]);
ask(3, "get_session", { session_id => $session });
