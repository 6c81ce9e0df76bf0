"""Sources, rendering, masks, tokenizing, packing: from files of documents to packed rows."""
