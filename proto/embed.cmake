# cmake -D IN=FILE -D OUT=FILE.c -P embed.cmake: the bytes of a file as the array `proto_schema`.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUT} "#include \"proto/schema.h\"\n\nconst uint8_t proto_schema[] = {\n${bytes}};\n"
  "const size_t proto_schema_len = sizeof proto_schema;\n")
