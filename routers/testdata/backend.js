// A backend that is not written in Go: node backend.js PORT
const http = require("node:http");

const server = http.createServer((request, response) => {
	const id = request.headers["x-session-id"];
	if (id) response.setHeader("X-Session-Id", id);
	if (request.url === "/events") {
		response.writeHead(200, { "Content-Type": "text/event-stream" });
		response.write("data: in stock\n\n");
		return;
	}
	if (request.url === "/nosuch") {
		response.writeHead(404);
		response.end();
		return;
	}
	const tag = `"${request.url.length}"`;
	response.setHeader("ETag", tag);
	if (request.headers["if-none-match"] === tag) {
		response.writeHead(304);
		response.end();
		return;
	}
	response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
	response.end("<!doctype html><title>Product</title>" + " ".repeat(1024));
});
server.on("upgrade", (request, socket) => {
	socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Session-Id: ${request.headers["x-session-id"] || ""}\r\n\r\n`);
	socket.on("data", (data) => socket.end(data));
	socket.on("error", () => {});
});
server.listen(Number(process.argv[2]), "127.0.0.1");
