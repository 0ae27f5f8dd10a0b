// SPDX-License-Identifier: GPL-3.0-or-later
/* xml and listing: what is read, what is refused. */
#include <errno.h>

#include "backend/base/buf.h"
#include "backend/store/listing.h"
#include "backend/store/xml.h"
#include "tests/unit/check.h"

static int note(void *ctx, const struct xml_element *e)
{
	buf_printf(ctx, "%s/%s=%s;", e->parent, e->name, e->text);
	return strcmp(e->name, "stop") ? 0 : -ECANCELED;
}

static void check(const char *text, const char *want)
{
	struct buf b = BUF_INIT(1000);

	CHECK_OK(xml_walk(text, strlen(text), note, &b));
	CHECK_STR(buf_cstr(&b), want);
	buf_release(&b);
}

static void test_walk(void)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "", "ends too early" },
		{ " ", "ends too early" },
		{ "x", "text outside" },
		{ "&lt;<a/>", "text outside" },
		{ "<a/>x", "text outside" },
		{ "<a/><b/>", "second outermost" },
		{ "<a>", "ends too early" },
		{ "<a", "ends too early" },
		{ "<a b='>", "ends too early" },
		{ "<a><b></a></b>", "another element" },
		{ "</a>", "another element" },
		{ "<a></a", "ends too early" },
		{ "<>", "usable name" },
		{ "<a <b/>/>", "'<' within" },
		{ "<!DOCTYPE a><a/>", "a DTD" },
		{ "<a>&b;</a>", "an entity" },
		{ "<a>&#0;</a>", "an entity" },
		{ "<a>&#xd800;</a>", "an entity" },
		{ "<a>&#x110000;</a>", "an entity" },
		{ "<a>&lt</a>", "an entity" },
		{ "<a>&", "an entity" },
		{ "<!-- <a/>", "ends too early" },
		{ "<a><![CDATA[</a>", "ends too early" },
	};
	struct buf b = BUF_INIT(100000), deep = BUF_INIT(100000);

	check("<a/>", "/a=;");
	check("\xef\xbb\xbf<?xml?>\n<a x=\"/>\"><b>1</b>t<c/>u</a >\n",
	      "a/b=1;a/c=;/a=tu;");
	check("<n:a xmlns:n='u'>&lt;&gt;&amp;&quot;&apos;&#65;&#x42;"
	      "&#xe4;&#x20AC;&#x1F600;<!-- & --><![CDATA[<&]]></n:a>",
	      "/a=<>&\"'AB\303\244\342\202\254\360\237\230\200<&;");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_SAYS(-EPROTO, bad[i].why,
			   xml_walk(bad[i].text, strlen(bad[i].text), note,
				    &b));
	CHECK_SAYS(-EPROTO, "zero byte", xml_walk("<a>\0</a>", 8, note, &b));
	CHECK_FAILS(-ECANCELED, xml_walk("<stop/><", 8, note, &b));

	for (int i = 0; i < XML_DEPTH_MAX; i++)
		buf_str(&deep, "<a>");
	for (int i = 0; i < XML_DEPTH_MAX; i++)
		buf_str(&deep, "</a>");
	CHECK_OK(xml_walk((char *)deep.data, deep.len, note, &b));
	buf_reset(&deep);
	for (int i = 0; i <= XML_DEPTH_MAX; i++)
		buf_str(&deep, "<a>");
	CHECK_SAYS(-EPROTO, "too deep",
		   xml_walk((char *)deep.data, deep.len, note, &b));
	buf_reset(&deep);
	buf_str(&deep, "<a>");
	buf_zero(&deep, XML_TEXT_MAX + 1);
	memset(deep.data + 3, 'x', XML_TEXT_MAX + 1);
	buf_str(&deep, "</a>");
	CHECK_SAYS(-EPROTO, "too long a text",
		   xml_walk((char *)deep.data, deep.len, note, &b));
	buf_release(&deep);
	buf_release(&b);
}

static void test_azure(void)
{
	static const char text[] =
		"<EnumerationResults><Blobs>"
		"<Blob><Name>a&amp;b</Name><Properties><Last-Modified>Sun, 22 "
		"Nov 2026 01:00:00 GMT</Last-Modified><Content-Length>12"
		"</Content-Length></Properties></Blob>"
		"<Blob><Name Encoded=\"true\">x%00</Name><Properties>"
		"<Content-Length>1</Content-Length></Properties></Blob>"
		"<BlobPrefix><Name>c/</Name></BlobPrefix></Blobs>"
		"<NextMarker>m</NextMarker></EnumerationResults>";
	DROP(listing) struct listing l = { 0 };

	CHECK_OK(listing_parse_azure(text, strlen(text), &l));
	CHECK_U64(l.count, 2);
	CHECK_STR(l.items[0].name, "a&b");
	CHECK_U64(l.items[0].size, 12);
	CHECK_U64(l.items[0].modified_s, 1795309200);
	CHECK_STR(l.items[1].name, "c/");
	CHECK(l.items[1].folder && !l.items[0].folder);
	CHECK_STR(l.marker, "m");
	listing_release(&l);
	/* Cut anywhere, it is refused. */
	for (size_t n = 0; n < strlen(text); n++)
		CHECK_FAILS(-EPROTO, listing_parse_azure(text, n, &l));
	CHECK_SAYS(-EPROTO, "no listing",
		   listing_parse_azure("<html/>", 7, &l));
}

static void test_s3(void)
{
	static const char text[] =
		"<ListBucketResult xmlns=\"x\"><IsTruncated>true</IsTruncated>"
		"<Contents><Key>k</Key><Size>7</Size></Contents>"
		"<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>"
		"</ListBucketResult>";
	DROP(listing) struct listing l = { 0 };
	char code[LISTING_CODE_MAX];

	CHECK_OK(listing_parse_s3(text, strlen(text), &l));
	CHECK_U64(l.count, 2);
	CHECK(l.truncated && !l.marker);
	CHECK_STR(l.items[0].name, "k");
	CHECK_U64(l.items[0].size, 7);
	CHECK(l.items[1].folder);
	listing_error_code("<Error><Code>No\nSuch-Key</Code></Error>", 39,
			   code);
	CHECK_STR(code, "NoSuchKey");
	listing_error_code("<html>busy", 10, code);
	CHECK_STR(code, "");
}

static void test_sync(void)
{
	static const char text[] =
		"<StorageServiceStats><GeoReplication><Status>live</Status>"
		"<LastSyncTime>Sun, 22 Nov 2026 01:00:00 GMT</LastSyncTime>"
		"</GeoReplication></StorageServiceStats>";
	int64_t s;

	CHECK_OK(listing_parse_sync(text, strlen(text), &s));
	CHECK_U64(s, 1795309200);
	CHECK_SAYS(-EPROTO, "up to when", listing_parse_sync("<a/>", 4, &s));
}

int main(void)
{
	test_walk();
	test_azure();
	test_s3();
	test_sync();
	return 0;
}
